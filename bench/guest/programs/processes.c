// fork, fork-exec: a process made, ended and waited for, without and with an execve of this program in it.
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

#define EXIT_CODE 7

static void reap(pid_t child, int code) {
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child) fail("fork", NULL);
  expect("status", (uint64_t)status, (uint64_t)code << 8);
}

static void fork_work(uint64_t n) {
  while (n--) {
    pid_t child = fork();
    if (child == 0) _exit(EXIT_CODE);
    reap(child, EXIT_CODE);
  }
}

static void exec_work(uint64_t n) {
  static char *const argv[] = {"guest-bench", "--exit", NULL}, *const environment[] = {NULL};
  while (n--) {
    pid_t child = fork();
    if (child == 0) {
      execve("/proc/self/exe", argv, environment);
      _exit(EXIT_CODE);
    }
    reap(child, 0);
  }
}

const struct bench process_benches[] = {
    {"fork", "ms", DURATION, 1e3, NULL, fork_work, NULL},
    {"fork-exec", "ms", DURATION, 1e3, NULL, exec_work, NULL},
    LAST,
};
