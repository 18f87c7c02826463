// memcpy, memset: the C library's own over 16 MiB, whatever variant it picks for the processor. rep-movsb: the instruction itself.
// chase: loads that depend on one another, at random over 8 MiB, each in a cache line of its own.
#include <stdlib.h>
#include <string.h>
#include "bench.h"

#define BYTES (16u << 20)
#define CHASE_BYTES (8u << 20)
#define LINE 64
#define LINES (CHASE_BYTES / LINE)
#define STEPS 4096

static uint8_t *from, *to;
static void **chain, **position;

static uint8_t *allocate(size_t bytes) {
  uint8_t *memory = aligned_alloc(4096, bytes);
  if (!memory) fail("no memory", NULL);
  return memory;
}

static void setup_copy(void) {
  uint64_t seed = 99;
  from = allocate(BYTES);
  to = allocate(BYTES);
  for (uint64_t *word = (uint64_t *)from; word < (uint64_t *)(from + BYTES); word++) *word = next_random(&seed);
  memset(to, 0, BYTES);
}

/** One byte that changes from copy to copy, and the ends, must arrive; the last copy of a batch is compared whole. */
static void check_copy(uint64_t left) {
  BARRIER();
  uint64_t probe = left * 4099 % BYTES;
  if (to[probe] != from[probe] || to[BYTES - 1] != from[BYTES - 1]) fail("copy differs", NULL);
  if (left == 0 && memcmp(from, to, BYTES)) fail("copy differs", NULL);
}

static void copy_with_libc(uint64_t n) {
  while (n--) {
    from[n * 4099 % BYTES] = (uint8_t)n;
    memcpy(to, from, BYTES);
    check_copy(n);
  }
}

static void copy_with_rep(uint64_t n) {
  while (n--) {
    from[n * 4099 % BYTES] = (uint8_t)n;
    void *d = to, *s = from;
    size_t count = BYTES;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(count)::"memory");
    check_copy(n);
  }
}

static void set(uint64_t n) {
  while (n--) {
    memset(to, (int)n, BYTES);
    BARRIER();
    if (to[0] != (uint8_t)n || to[BYTES - 1] != (uint8_t)n || to[n * 4099 % BYTES] != (uint8_t)n) fail("set differs", NULL);
    if (n > 0) continue;
    for (size_t i = 0; i < BYTES; i++)
      if (to[i]) fail("set differs", NULL);
  }
}

/** One cycle through all lines (Sattolo's shuffle). */
static void setup_chase(void) {
  uint8_t *memory = allocate(CHASE_BYTES);
  uint32_t *order = malloc(LINES * sizeof *order);
  uint64_t seed = 7;
  for (uint32_t i = 0; i < LINES; i++) order[i] = i;
  for (uint32_t i = LINES - 1; i > 0; i--) {
    uint32_t j = (uint32_t)(next_random(&seed) % i), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  for (uint32_t i = 0; i < LINES; i++) *(void **)(memory + (size_t)i * LINE) = memory + (size_t)order[i] * LINE;
  chain = position = (void **)memory;
  uint32_t length = 0;
  do {
    position = *position;
    length++;
  } while (position != chain);
  expect("cycle", length, LINES);
  free(order);
}

static void chase(uint64_t n) {
  static uint64_t done;
  void **p = position;
  for (uint64_t i = 0; i < n * STEPS; i++) p = *p;
  position = p;
  done += n * STEPS;
  if (done % LINES == 0 && p != chain) fail("the chain led elsewhere", NULL);
}

const struct bench memory_benches[] = {
    {"memcpy", "MB/s", RATE, BYTES / 1e6, setup_copy, copy_with_libc, 0},
    {"memset", "MB/s", RATE, BYTES / 1e6, setup_copy, set, 0},
    {"rep-movsb", "MB/s", RATE, BYTES / 1e6, setup_copy, copy_with_rep, 0},
    {"chase", "ns", DURATION, 1e9 / STEPS, setup_chase, chase, 0},
    LAST,
};
