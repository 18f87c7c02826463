// smc: a function whose constant is rewritten before each call, as self-modifying programs and just-in-time compilers do on x86, where
// a jump is all that must come between the store and the call (Intel SDM vol. 3A, 9.1.3 "Handling Self- and Cross-Modifying Code").
#include <string.h>
#include <sys/mman.h>
#include "bench.h"

static uint8_t *code;

static void setup(void) {
  static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3}; // mov eax, imm32; ret
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) fail("mmap", NULL);
  memcpy(code, function, sizeof function);
}

static void work(uint64_t n) {
  uint32_t (*call)(void) = (uint32_t (*)(void))(uintptr_t)code;
  static uint32_t constant;
  while (n--) {
    constant += 0x9e3779b9u;
    memcpy(code + 1, &constant, sizeof constant);
    BARRIER();
    expect("constant", call(), constant);
  }
}

const struct bench code_benches[] = {{"smc", "us", DURATION, 1e6, setup, work, NULL}, LAST};
