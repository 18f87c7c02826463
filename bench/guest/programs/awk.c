// awk: busybox awk over a program of loops, arrays and strings. Its own start is in the figure; so many turns make it small, however
// slow a machine is at starting processes (fork-exec measures that).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

#define TURNS 300

#define PROGRAM \
  "BEGIN { for (i = 0; i < turns; i++) { for (j = 0; j < 50; j++) { word = \"w\" (j * 7 % 13); count[word] += j; sum += length(word) }" \
  " if (\"w3\" in count) sum += count[\"w3\"] % 5 } print sum }"

/** What PROGRAM sums, by other means. */
static uint64_t expected_sum(uint64_t turns) {
  uint64_t sum = 0, third = 0;
  for (uint64_t i = 0; i < turns; i++) {
    for (int j = 0; j < 50; j++) {
      int word = j * 7 % 13;
      sum += word < 10 ? 2 : 3;
      if (word == 3) third += (uint64_t)j;
    }
    sum += third % 5;
  }
  return sum;
}

static void run_awk(const char *turns) {
  execl("/bin/busybox", "busybox", "awk", "-v", turns, PROGRAM, (char *)NULL);
  execlp("busybox", "busybox", "awk", "-v", turns, PROGRAM, (char *)NULL);
  _exit(127);
}

static void work(uint64_t n) {
  n *= TURNS;
  int output[2], status;
  char turns[32], answer[32] = "";
  snprintf(turns, sizeof turns, "turns=%llu", (unsigned long long)n);
  if (pipe(output)) fail("pipe", NULL);
  pid_t child = fork();
  if (child < 0) fail("fork", NULL);
  if (child == 0) {
    dup2(output[1], 1);
    close(output[0]);
    close(output[1]);
    run_awk(turns);
  }
  close(output[1]);
  ssize_t length = read(output[0], answer, sizeof answer - 1);
  close(output[0]);
  if (waitpid(child, &status, 0) != child || status || length <= 0) fail("busybox awk did not run", NULL);
  expect("sum", strtoull(answer, NULL, 10), expected_sum(n));
}

const struct bench awk_benches[] = {{"awk", "turns/s", RATE, TURNS, NULL, work, NULL}, LAST};
