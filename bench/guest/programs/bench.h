// What each benchmark of guest-bench gives to its harness (main.c), and what the harness gives to it. A benchmark does a number of
// units of work, checks every result against a known one, and leaves time, warm-up and printing to the harness.
#pragma once
#include <stdint.h>

enum bench_value {
  RATE,     // units a second, times scale
  DURATION, // seconds a unit, times scale
  OWN,      // whatever measure() returns
};

struct bench {
  const char *name;
  const char *unit;
  enum bench_value value;
  double scale;
  void (*setup)(void);       // may be null
  void (*work)(uint64_t n);  // n units
  double (*measure)(void);   // for OWN
};

extern const struct bench integer_benches[], record_benches[], sha256_benches[], memory_benches[], float_benches[],
    script_benches[], awk_benches[], call_benches[], process_benches[], pipe_benches[], thread_benches[],
    code_benches[];

/** Ends the benchmark as wrong unless both are equal. */
void expect(const char *what, uint64_t got, uint64_t want);
/** Ends the benchmark as wrong. `detail` may be null. */
void fail(const char *what, const char *detail) __attribute__((noreturn));

/** Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);
/** How long a measurement shall take, and the warm-up before it. */
extern uint64_t measure_ns, warm_up_ns;

/** Binds the calling thread to one of the first two processors that it may use. */
void pin(int which);

/** A pseudo-random sequence that is the same everywhere (xorshift64). */
static inline uint64_t next_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

/** FNV-1a over 64-bit words. */
static inline uint64_t mix(uint64_t hash, uint64_t word) {
  return (hash ^ word) * 0x100000001b3u;
}
#define MIX_START 0xcbf29ce484222325u

/** The compiler may assume nothing of what lies in memory. */
#define BARRIER() __asm__ volatile("" ::: "memory")

#define LAST {0}
