// pipe, pipe-across: two processes hand a byte to and fro through two pipes, both on one processor or each on its own. The value is a
// round trip.
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

static int to_partner[2], from_partner[2];

/** Answers each byte with the next one, until its pipe closes. */
static void serve(int processor) {
  unsigned char byte;
  pin(processor);
  close(to_partner[1]);
  close(from_partner[0]);
  while (read(to_partner[0], &byte, 1) == 1) {
    byte++;
    if (write(from_partner[1], &byte, 1) != 1) _exit(1);
  }
  _exit(0);
}

static void start_partner(int processor) {
  if (pipe(to_partner) || pipe(from_partner)) fail("pipe", NULL);
  pid_t partner = fork();
  if (partner < 0) fail("fork", NULL);
  if (partner == 0) serve(processor);
  pin(0);
}

static void setup_one(void) { start_partner(0); }
static void setup_two(void) { start_partner(1); }

static void work(uint64_t n) {
  for (uint64_t i = 0; i < n; i++) {
    unsigned char byte = (unsigned char)i, answer = 0;
    if (write(to_partner[1], &byte, 1) != 1 || read(from_partner[0], &answer, 1) != 1) fail("pipe", NULL);
    expect("answer", answer, (unsigned char)(byte + 1));
  }
}

const struct bench pipe_benches[] = {
    {"pipe", "us", DURATION, 1e6, setup_one, work, NULL},
    {"pipe-across", "us", DURATION, 1e6, setup_two, work, NULL},
    LAST,
};
