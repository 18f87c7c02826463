// guest-bench: one program for all benchmarks that run inside a guest. `guest-bench [--warm-up MS] [--measure MS] NAME…` prints for each
// name `bench NAME VALUE UNIT`, or `bench NAME wrong …` when a result is not what it must be, and then `clock NS`, the time of
// CLOCK_MONOTONIC, by which the host checks the guest's clock. Each benchmark finds its own batch size; times are the guest's.
#define _GNU_SOURCE
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"

#define BATCH_NS 40000000u

static const struct bench *const all[] = {
    integer_benches, record_benches, sha256_benches, memory_benches,  float_benches, script_benches,
    awk_benches,     call_benches,   process_benches, pipe_benches,   thread_benches, code_benches,
};
#define GROUPS (sizeof all / sizeof all[0])

uint64_t measure_ns = 1000000000u, warm_up_ns = 500000000u;
static const char *current = "none";

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void fail(const char *what, const char *detail) {
  printf("bench %s wrong %s%s%s\n", current, what, detail ? " " : "", detail ? detail : "");
  fflush(stdout);
  _exit(1);
}

void expect(const char *what, uint64_t got, uint64_t want) {
  if (got == want) return;
  char detail[80];
  snprintf(detail, sizeof detail, "got %#" PRIx64 " want %#" PRIx64, got, want);
  fail(what, detail);
}

void pin(int which) {
  cpu_set_t allowed, one;
  static int processors[2] = {-1, -1};
  if (processors[0] < 0) {
    if (sched_getaffinity(0, sizeof allowed, &allowed)) fail("sched_getaffinity", NULL);
    int found = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
      if (CPU_ISSET(cpu, &allowed)) processors[found++] = cpu;
    if (found == 1) processors[1] = processors[0];
  }
  CPU_ZERO(&one);
  CPU_SET(processors[which], &one);
  if (sched_setaffinity(0, sizeof one, &one)) fail("sched_setaffinity", NULL);
}

/** Units for a batch of BATCH_NS or more, found while the engine below warms up. */
static uint64_t warm_up(const struct bench *b) {
  uint64_t n = 1, start = now_ns();
  for (;;) {
    uint64_t before = now_ns();
    b->work(n);
    uint64_t after = now_ns(), took = after - before;
    if (took >= BATCH_NS && after - start >= warm_up_ns) return n;
    if (took < BATCH_NS / 8) n *= 4;
    else if (took < BATCH_NS) n = n * BATCH_NS / took + 1;
  }
}

static double run(const struct bench *b) {
  if (b->setup) b->setup();
  if (b->value == OWN) return b->measure();
  uint64_t n = warm_up(b), units = 0, start = now_ns(), took;
  do {
    b->work(n);
    units += n;
    took = now_ns() - start;
  } while (took < measure_ns);
  double seconds = (double)took / 1e9;
  return b->value == RATE ? (double)units / seconds * b->scale : seconds / (double)units * b->scale;
}

static const struct bench *find(const char *name) {
  for (unsigned g = 0; g < GROUPS; g++)
    for (const struct bench *b = all[g]; b->name; b++)
      if (!strcmp(b->name, name)) return b;
  return NULL;
}

static int usage(void) {
  fprintf(stderr, "usage: guest-bench [--warm-up MS] [--measure MS] NAME…\nnames:");
  for (unsigned g = 0; g < GROUPS; g++)
    for (const struct bench *b = all[g]; b->name; b++) fprintf(stderr, " %s", b->name);
  fprintf(stderr, "\n");
  return 2;
}

static void print_clock(void) {
  printf("clock %" PRIu64 "\n", now_ns());
  fflush(stdout);
}

/** In a process of its own: a benchmark that dies takes no other with it, and none inherits another's memory. */
static int run_apart(const struct bench *b) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    current = b->name;
    printf("bench %s %.6g %s\n", b->name, run(b), b->unit);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 1;
  if (WIFSIGNALED(status)) printf("bench %s wrong ended by signal %d\n", b->name, WTERMSIG(status));
  return status != 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "--exit")) return 0; // what the fork+exec benchmark executes
  int at = 1, wrong = 0;
  for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
    uint64_t ns = strtoull(argv[at + 1], NULL, 10) * 1000000u;
    if (!strcmp(argv[at], "--warm-up")) warm_up_ns = ns;
    else if (!strcmp(argv[at], "--measure")) measure_ns = ns;
    else return usage();
  }
  if (at == argc) return usage();
  for (int i = at; i < argc; i++)
    if (!find(argv[i])) return usage();
  print_clock();
  for (int i = at; i < argc; i++) {
    wrong |= run_apart(find(argv[i]));
    print_clock();
  }
  return wrong;
}
