// scaling: how much more integer work two threads on two processors do than one alone. atomics: two threads that add to one word with LOCK
// XADD; the value counts the additions of both.
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "bench.h"

#define TURNS 20000
#define ADDITIONS 10000
#define ROUNDS 4
#define HASH 0xd19c1505333fd4d3u // of TURNS turns

/** A cache line each: threads that count side by side must not slow each other. */
struct worker {
  _Alignas(64) pthread_t thread;
  int processor;
  uint64_t units;
  double rate;
};

static atomic_int stop;

/** Work without system calls or shared memory. A compiler that looked inside would do it once for all calls. */
static __attribute__((noipa)) uint64_t hash_work(void) {
  static const uint8_t shifts[8] = {7, 13, 21, 29, 33, 41, 47, 53};
  uint64_t table[256], hash = MIX_START;
  for (int i = 0; i < 256; i++) table[i] = (uint64_t)i << 32 | (uint64_t)i;
  for (int i = 0; i < TURNS; i++) {
    uint64_t *slot = &table[hash >> 56];
    hash = mix(hash, *slot) ^ hash >> shifts[i & 7];
    *slot += hash;
  }
  return hash;
}

static void *hash_until_stopped(void *argument) {
  struct worker *worker = argument;
  pin(worker->processor);
  uint64_t start = now_ns();
  do {
    expect("hash", hash_work(), HASH);
    worker->units++;
  } while (!atomic_load_explicit(&stop, memory_order_relaxed));
  worker->rate = (double)worker->units / (double)(now_ns() - start);
  return NULL;
}

/** Units a nanosecond of `count` threads together, each by its own time: one may start or end late. */
static double hash_rate(int count, uint64_t for_ns) {
  struct worker workers[2];
  atomic_store(&stop, 0);
  uint64_t start = now_ns();
  double rate = 0;
  for (int i = 0; i < count; i++) {
    workers[i] = (struct worker){.processor = i};
    if (pthread_create(&workers[i].thread, NULL, hash_until_stopped, &workers[i])) fail("pthread_create", NULL);
  }
  while (now_ns() - start < for_ns) {
    struct timespec pause = {0, 10000000};
    nanosleep(&pause, NULL);
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < count; i++) {
    pthread_join(workers[i].thread, NULL);
    rate += workers[i].rate;
  }
  return rate;
}

static double scaling(void) {
  hash_rate(2, warm_up_ns);
  double alone = 0, both = 0;
  for (int round = 0; round < ROUNDS; round++) { // in alternation, so that a change of the host's pace falls on both
    alone += hash_rate(1, measure_ns / (2 * ROUNDS));
    both += hash_rate(2, measure_ns / (2 * ROUNDS));
  }
  return both / alone;
}

static _Alignas(64) uint64_t shared_word;

static void *add(void *argument) {
  struct worker *worker = argument;
  pin(worker->processor);
  for (uint64_t i = 0; i < worker->units; i++) {
    uint64_t one = 1;
    __asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(shared_word));
  }
  return NULL;
}

static void atomics(uint64_t n) {
  struct worker workers[2];
  shared_word = 0;
  for (int i = 0; i < 2; i++) {
    workers[i] = (struct worker){.processor = i, .units = n * ADDITIONS};
    if (pthread_create(&workers[i].thread, NULL, add, &workers[i])) fail("pthread_create", NULL);
  }
  for (int i = 0; i < 2; i++) pthread_join(workers[i].thread, NULL);
  expect("additions", shared_word, 2 * n * ADDITIONS);
}

const struct bench thread_benches[] = {
    {"scaling", "x", OWN, 1, NULL, NULL, scaling},
    {"atomics", "M/s", RATE, 2.0 * ADDITIONS / 1e6, NULL, atomics, NULL},
    LAST,
};
