// What crosses the kernel's border and comes straight back: getppid, clock (clock_gettime, a system call only where the kernel has no vDSO
// clock), signal (raise and return from the handler), page-fault (first touch of anonymous memory, and its share of mmap and munmap).
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"

#define CALLS 100
#define PAGE_BYTES 4096
#define FAULT_PAGES 256

static void getppid_work(uint64_t n) {
  long parent = syscall(SYS_getppid), sum = 0;
  for (uint64_t i = 0; i < n * CALLS; i++) sum += syscall(SYS_getppid);
  expect("pids", (uint64_t)sum, (uint64_t)parent * n * CALLS);
}

static void clock_work(uint64_t n) {
  uint64_t before = now_ns();
  for (uint64_t i = 0; i < n * CALLS; i++) {
    uint64_t now = now_ns();
    if (now < before) fail("the clock ran backwards", NULL);
    before = now;
  }
}

static volatile sig_atomic_t signals_taken;

static void on_signal(int number) {
  (void)number;
  signals_taken++;
}

static void setup_signal(void) {
  struct sigaction action = {.sa_handler = on_signal};
  if (sigaction(SIGUSR1, &action, NULL)) fail("sigaction", NULL);
}

static void signal_work(uint64_t n) {
  signals_taken = 0;
  pid_t self = getpid();
  for (uint64_t i = 0; i < n; i++) kill(self, SIGUSR1);
  expect("signals", (uint64_t)signals_taken, (uint32_t)n);
}

static void fault_work(uint64_t n) {
  while (n--) {
    uint8_t *memory = mmap(NULL, FAULT_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap", NULL);
    madvise(memory, FAULT_PAGES * PAGE_BYTES, MADV_NOHUGEPAGE); // refused by kernels that have no huge pages
    uint64_t sum = 0;
    for (int page = 0; page < FAULT_PAGES; page++) sum += memory[page * PAGE_BYTES + 8]++;
    for (int page = 0; page < FAULT_PAGES; page++) sum += memory[page * PAGE_BYTES + 8];
    expect("pages", sum, FAULT_PAGES);
    if (munmap(memory, FAULT_PAGES * PAGE_BYTES)) fail("munmap", NULL);
  }
}

const struct bench call_benches[] = {
    {"getppid", "us", DURATION, 1e6 / CALLS, NULL, getppid_work, NULL},
    {"clock", "us", DURATION, 1e6 / CALLS, NULL, clock_work, NULL},
    {"signal", "us", DURATION, 1e6, setup_signal, signal_work, NULL},
    {"page-fault", "us", DURATION, 1e6 / FAULT_PAGES, NULL, fault_work, NULL},
    LAST,
};
