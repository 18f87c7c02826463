/*
 * The parts of the chaos workload beside disk, memory and console:
 *
 *  - numbered lines on the serial line, which the host checks;
 *  - numbered lines that the host writes to standard input, each of which must come once, in order;
 *  - code that did not exist before, run until it is compiled, with a result that is known;
 *  - drivers that are taken off their devices and put on again (a second disk, which must hold what was written, and the random
 *    numbers), and writes into the devices' configuration, which mean nothing to them.
 */
#define _GNU_SOURCE
#include "verifier.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

void *serial_thread(void *argument) {
  int fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
  struct termios line;
  (void)argument;
  if (fd < 0 || tcgetattr(fd, &line)) return NULL;
  cfmakeraw(&line);
  tcsetattr(fd, TCSANOW, &line);
  for (unsigned long long n = 1; !atomic_load(&stop); n++) {
    char text[32];
    int length = snprintf(text, sizeof text, "u %llu\n", n);
    if (write(fd, text, length) != length) violation("serial: write failed", n, errno);
    atomic_fetch_add(&serial_lines, 1);
    usleep(4000);
  }
  tcdrain(fd);
  close(fd);
  return NULL;
}

void *input_thread(void *argument) {
  struct pollfd input = {.fd = 0, .events = POLLIN};
  char line[64];
  unsigned length = 0;
  unsigned long long last = 0;
  (void)argument;
  while (!atomic_load(&stop)) {
    char bytes[256];
    if (poll(&input, 1, 100) <= 0) continue;
    ssize_t n = read(0, bytes, sizeof bytes);
    if (n <= 0) {
      usleep(100000);
      continue;
    }
    for (ssize_t i = 0; i < n; i++) {
      if (bytes[i] != '\n') {
        if (length < sizeof line - 1) line[length++] = bytes[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      unsigned long long found = strncmp(line, "i ", 2) ? 0 : strtoull(line + 2, NULL, 10);
      if (found != last + 1) violation("input: another line was due", last + 1, found);
      last = found;
      atomic_fetch_add(&input_lines, 1);
    }
  }
  return NULL;
}

enum { CODE_BYTES = 32, CODE_PAGES = 512, CODE_TURNS = 20000 };

/* xor eax,eax; mov ecx,CODE_TURNS; 1: add rax,addend; dec ecx; jnz 1b; ret */
static void write_code(unsigned char *at, int32_t addend) {
  static const unsigned char pattern[] = {0x31, 0xc0, 0xb9, 0, 0, 0, 0, 0x48, 0x05, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf6, 0xc3};
  int32_t turns = CODE_TURNS;
  memcpy(at, pattern, sizeof pattern);
  memcpy(at + 3, &turns, 4);
  memcpy(at + 9, &addend, 4);
}

void *code_thread(void *argument) {
  unsigned char *code =
      mmap(NULL, CODE_PAGES * BLOCK, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t random = (seed * 31) | 1;
  (void)argument;
  if (code == MAP_FAILED) return NULL;
  for (size_t page = 0; page < CODE_PAGES && !atomic_load(&stop); page++) {
    int32_t addends[BLOCK / CODE_BYTES];
    /* A page is written before any of it runs: code that changes is compiled later and later. */
    for (int i = 0; i < BLOCK / CODE_BYTES; i++)
      write_code(code + page * BLOCK + i * CODE_BYTES, addends[i] = (int32_t)next_random(&random));
    for (int i = 0; i < BLOCK / CODE_BYTES && !atomic_load(&stop); i++) {
      int64_t (*run)(void) = (int64_t(*)(void))(code + page * BLOCK + i * CODE_BYTES);
      int64_t expected = (int64_t)addends[i] * CODE_TURNS;
      for (int turn = 0; turn < 2; turn++) {
        int64_t found = run();
        if (found != expected) violation("code: wrong result", found, expected);
        usleep(6000);
      }
      atomic_fetch_add(&codes, 1);
    }
  }
  return NULL;
}

static int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY), length = strlen(text);
  int done = fd >= 0 && write(fd, text, length) == length;
  if (fd >= 0) close(fd);
  return done;
}

/* The virtio device behind a link in sysfs, "virtioN". */
static int device_name(const char *link, char *name) {
  char target[PATH_MAX];
  if (realpath(link, target) == NULL) return 0;
  strcpy(name, strrchr(target, '/') + 1);
  return 1;
}

static void restart_driver(const char *driver, const char *device) {
  char path[128];
  snprintf(path, sizeof path, "/sys/bus/virtio/drivers/%s/unbind", driver);
  if (!write_file(path, device)) violation("driver: cannot be taken off", errno, 0);
  snprintf(path, sizeof path, "/sys/bus/virtio/drivers/%s/bind", driver);
  if (!write_file(path, device)) violation("driver: cannot be put on", errno, 0);
  atomic_fetch_add(&driver_starts, 1);
}

/* What was written before the driver went must be there when it has come back. */
static void restart_disk(const char *device, uint64_t *words, uint64_t count) {
  int fd = open(spare_path, O_RDWR | O_DIRECT);
  if (fd < 0) return violation("spare disk: cannot open", errno, 0);
  fill_block(words, count % 64, count);
  move_block(fd, words, count % 64, 1);
  close(fd);
  restart_driver("virtio_blk", device);
  fd = open(spare_path, O_RDONLY | O_DIRECT);
  if (fd < 0) return violation("spare disk: gone", errno, 0);
  memset(words, 0, BLOCK);
  move_block(fd, words, count % 64, 0);
  check_block(words, count % 64, count);
  close(fd);
}

enum { REGISTERS_BYTES = 0x4000, UNUSED_CONFIG = 0x2ff0 };

/* The device's registers; NULL where the kernel does not let us. */
static volatile unsigned char *map_registers(const char *device) {
  char path[128];
  snprintf(path, sizeof path, "/sys/bus/virtio/devices/%s/../resource0", device);
  int fd = open(path, O_RDWR);
  void *at = fd < 0 ? MAP_FAILED : mmap(NULL, REGISTERS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  return at == MAP_FAILED ? NULL : at;
}

void *driver_thread(void *argument) {
  char disk[64] = "", random[64] = "", console[64] = "", link[128];
  volatile unsigned char *registers[3] = {NULL, NULL, NULL};
  uint64_t *words;
  (void)argument;
  snprintf(link, sizeof link, "/sys/block/%s/device", strrchr(spare_path, '/') + 1);
  if (!device_name(link, disk) || posix_memalign((void **)&words, BLOCK, BLOCK)) return NULL;
  registers[0] = map_registers(disk);
  for (int i = 0; i < 16; i++) {
    char name[16];
    snprintf(name, sizeof name, "virtio%d", i);
    snprintf(link, sizeof link, "/sys/bus/virtio/drivers/virtio_rng/%s", name);
    if (access(link, F_OK) == 0) strcpy(random, name);
    snprintf(link, sizeof link, "/sys/bus/virtio/drivers/virtio_console/%s", name);
    if (access(link, F_OK) == 0) strcpy(console, name);
  }
  if (*random) registers[1] = map_registers(random);
  if (*console) registers[2] = map_registers(console);
  for (uint64_t n = 1; !atomic_load(&stop); n++) {
    restart_disk(disk, words, n);
    if (*random) restart_driver("virtio_rng", random);
    for (int i = 0; i < 3; i++)
      for (int turn = 0; registers[i] && turn < 20; turn++) registers[i][UNUSED_CONFIG] = turn;
    usleep(50000);
  }
  return NULL;
}
