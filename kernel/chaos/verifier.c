/*
 * The self-checking workload of `troupe chaos`, as it runs in the guest: verifier DISK SECONDS SEED [SPARE-DISK].
 *
 *  - Two threads own half the disk each. They write blocks that carry their number, the count of writes to it and a checksum, flush
 *    now and then, and read back with O_DIRECT: what a disk promises is that the last write is found, whole.
 *  - Two threads a processor hammer on memory: locked counters, a lock that guards two words, a mailbox of flag and datum (x86 keeps
 *    stores in order), and a clock that must not go back.
 *  - The main thread prints a counter line by line, to standard output; the host checks that each comes once, in order.
 *  - /dev/hwrng, where there is one, must give bytes that are not all alike.
 *  - verifier-devices.c has the rest; what it does to devices is for a guest's, and needs a disk to spare.
 *
 * At the end all of the disk is read again; `= disk SUM` lets the host compare with its image. Lines with `!` are violations.
 */
#define _GNU_SOURCE
#include "verifier.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { DISK_THREADS = 2, MAX_THREADS = 128, BREATH_TURNS = 16, BREATH_US = 10000, HAMMER_NICE = 10 };

atomic_int stop;
atomic_ullong serial_lines, driver_starts, codes, input_lines;
uint64_t seed;
const char *spare_path;
static atomic_int failed;
static atomic_ullong writes, reads, flushes, turns, random_bytes;
static const char *disk_path;
static uint64_t blocks;

void violation(const char *what, uint64_t a, uint64_t b) {
  char line[200];
  int n = snprintf(line, sizeof line, "! %s %llu %llu\n", what, (unsigned long long)a, (unsigned long long)b);
  atomic_store(&failed, 1);
  if (write(2, line, n) < 0) _exit(3);
}

uint64_t next_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

static uint64_t sum_of(const uint64_t *words, int count) {
  uint64_t sum = 0xcbf29ce484222325ull;
  for (int i = 0; i < count; i++) sum = (sum ^ words[i]) * 0x100000001b3ull;
  return sum;
}

void fill_block(uint64_t *words, uint64_t block, uint64_t count) {
  uint64_t state = (seed ^ (block << 20) ^ count) | 1;
  words[0] = block;
  words[1] = count;
  for (int i = 2; i < WORDS - 1; i++) words[i] = next_random(&state);
  words[WORDS - 1] = sum_of(words, WORDS - 1);
}

void check_block(const uint64_t *words, uint64_t block, uint64_t count) {
  if (count == 0) return;
  if (words[0] != block) violation("disk: a block of another place", block, words[0]);
  else if (words[1] != count) violation("disk: stale or lost write to block", block, words[1]);
  else if (words[WORDS - 1] != sum_of(words, WORDS - 1)) violation("disk: torn block", block, count);
}

void move_block(int fd, uint64_t *words, uint64_t block, int is_write) {
  ssize_t n = is_write ? pwrite(fd, words, BLOCK, block * BLOCK) : pread(fd, words, BLOCK, block * BLOCK);
  if (n != BLOCK) violation(is_write ? "disk: write failed" : "disk: read failed", block, errno);
}

static void *disk_thread(void *argument) {
  uint64_t share = blocks / DISK_THREADS, first = (uintptr_t)argument * share;
  uint64_t *counts = calloc(share, sizeof *counts), *words, random = (seed ^ (first + 1) * 77) | 1;
  int direct = open(disk_path, O_RDWR | O_DIRECT), cached = open(disk_path, O_RDWR);
  if (direct < 0 || cached < 0 || posix_memalign((void **)&words, BLOCK, BLOCK)) {
    violation("disk: cannot open", errno, 0);
    return NULL;
  }
  while (!atomic_load(&stop)) {
    for (int i = 0; i < 16 && !atomic_load(&stop); i++) {
      uint64_t block = next_random(&random) % share;
      fill_block(words, first + block, ++counts[block]);
      move_block(i & 1 ? cached : direct, words, first + block, 1);
      atomic_fetch_add(&writes, 1);
      if (i & 1 && fdatasync(cached)) violation("disk: flush failed", block, errno);
      else if (i & 1) atomic_fetch_add(&flushes, 1);
    }
    for (int i = 0; i < 16 && !atomic_load(&stop); i++) {
      uint64_t block = next_random(&random) % share;
      move_block(direct, words, first + block, 0);
      check_block(words, first + block, counts[block]);
      atomic_fetch_add(&reads, 1);
    }
  }
  for (uint64_t block = 0; block < share; block++) {
    move_block(direct, words, first + block, 0);
    check_block(words, first + block, counts[block]);
  }
  close(direct);
  close(cached);
  return NULL;
}

static atomic_ullong counter, ticket, serving, flag, last_ns;
static uint64_t guarded[2], datum;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Who hammers on memory takes the time that devices and their drivers leave. */
static void give_way(void) { setpriority(PRIO_PROCESS, gettid(), HAMMER_NICE); }

static void *memory_thread(void *argument) {
  uint64_t mine = 0;
  (void)argument;
  give_way();
  while (!atomic_load(&stop)) {
    for (int i = 0; i < 200; i++, mine++) atomic_fetch_add(&counter, 1);
    uint64_t my_ticket = atomic_fetch_add(&ticket, 1);
    while (atomic_load(&serving) != my_ticket) sched_yield();
    if (guarded[0] != guarded[1]) violation("memory: guarded words differ", guarded[0], guarded[1]);
    guarded[0]++;
    guarded[1] = guarded[0];
    uint64_t seen = atomic_load(&last_ns), now = now_ns();
    if (now < seen) violation("clock: went back by ns", seen - now, 0);
    atomic_store(&last_ns, now);
    atomic_store(&serving, my_ticket + 1);
    /* Contention is what is wanted; processors that never rest are not. */
    if (atomic_fetch_add(&turns, 1) % BREATH_TURNS == 0) usleep(BREATH_US);
  }
  return (void *)(uintptr_t)mine;
}

/* A flag is raised after its datum: who sees the flag sees the datum. */
static void *writer_thread(void *argument) {
  (void)argument;
  give_way();
  for (uint64_t n = 1; !atomic_load(&stop); n++) {
    *(volatile uint64_t *)&datum = n;
    atomic_store_explicit(&flag, n, memory_order_release);
    if (n % 64 == 0) usleep(1000);
  }
  return NULL;
}

static void *reader_thread(void *argument) {
  (void)argument;
  give_way();
  for (uint64_t n = 1; !atomic_load(&stop); n++) {
    uint64_t raised = atomic_load_explicit(&flag, memory_order_acquire), found = *(volatile uint64_t *)&datum;
    if (found < raised) violation("memory: flag overtook its datum", raised, found);
    if (n % BREATH_TURNS == 0) usleep(BREATH_US);
    else sched_yield();
  }
  return NULL;
}

static void *random_thread(void *argument) {
  int fd = open("/dev/hwrng", O_RDONLY);
  (void)argument;
  while (fd >= 0 && !atomic_load(&stop)) {
    unsigned char bytes[32];
    ssize_t n = read(fd, bytes, sizeof bytes);
    int alike = 1;
    for (ssize_t i = 1; i < n; i++) alike &= bytes[i] == bytes[0];
    if (n == (ssize_t)sizeof bytes && alike) violation("rng: bytes all alike", bytes[0], n);
    if (n > 0) atomic_fetch_add(&random_bytes, n);
    usleep(5000);
  }
  return NULL;
}

static uint64_t sum_disk(void) {
  static uint64_t words[WORDS] __attribute__((aligned(BLOCK)));
  uint64_t sum = 0;
  int fd = open(disk_path, O_RDONLY | O_DIRECT);
  for (uint64_t block = 0; block < blocks; block++) {
    move_block(fd, words, block, 0);
    sum = sum * 31 + sum_of(words, WORDS);
  }
  close(fd);
  return sum;
}

int main(int argc, char **argv) {
  pthread_t threads[MAX_THREADS];
  int count = 0;
  if (argc < 4) return 2;
  disk_path = argv[1];
  spare_path = argv[4];
  seed = strtoull(argv[3], NULL, 10);
  int fd = open(disk_path, O_RDWR);
  off_t bytes = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  if (bytes < BLOCK * DISK_THREADS) return 2;
  close(fd);
  blocks = bytes / BLOCK;
  uint64_t end = now_ns() + strtoull(argv[2], NULL, 10) * 1000000000ull;
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  int hammers = 2 * processors > 32 ? 32 : 2 * processors, first_hammer;
  for (uintptr_t i = 0; i < DISK_THREADS; i++) pthread_create(&threads[count++], NULL, disk_thread, (void *)i);
  pthread_create(&threads[count++], NULL, random_thread, NULL);
  pthread_create(&threads[count++], NULL, writer_thread, NULL);
  pthread_create(&threads[count++], NULL, reader_thread, NULL);
  pthread_create(&threads[count++], NULL, code_thread, NULL);
  if (spare_path != NULL) {
    pthread_create(&threads[count++], NULL, serial_thread, NULL);
    pthread_create(&threads[count++], NULL, input_thread, NULL);
    pthread_create(&threads[count++], NULL, driver_thread, NULL);
  }
  first_hammer = count;
  for (int i = 0; i < hammers; i++) pthread_create(&threads[count++], NULL, memory_thread, NULL);
  for (uint64_t line = 1; now_ns() < end; line++) {
    char text[32];
    int n = snprintf(text, sizeof text, "c %llu\n", (unsigned long long)line), done = 0;
    while (done < n) {
      ssize_t written = write(1, text + done, n - done);
      if (written < 0) return 4;
      done += written;
    }
    usleep(2000);
  }
  atomic_store(&stop, 1);
  uint64_t expected = 0;
  for (int i = 0; i < count; i++) {
    void *result;
    pthread_join(threads[i], &result);
    if (i >= first_hammer) expected += (uintptr_t)result;
  }
  if (expected != atomic_load(&counter)) violation("memory: locked counter", expected, atomic_load(&counter));
  printf("= disk %016llx\n", (unsigned long long)sum_disk());
  printf("= writes %llu\n= reads %llu\n= flushes %llu\n= turns %llu\n= random %llu\n", writes, reads, flushes, turns, random_bytes);
  printf("= serial %llu\n= drivers %llu\n= codes %llu\n= inputs %llu\n", serial_lines, driver_starts, codes, input_lines);
  return atomic_load(&failed);
}
