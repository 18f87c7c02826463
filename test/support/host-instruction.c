// Runs single instructions on the host CPU: reads records from standard input, answers each on standard output. The memory operand's page is
// at a fixed address, so that the same code bytes run in the engine. A fault ends the instruction and is answered by its signal.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define MEMORY_ADDRESS 0x20000000ul
#define CODE_ADDRESS 0x30000000ul

// RAX RCX RDX RBX RSI RDI R8 R9, then RFLAGS.
struct record {
  uint8_t fx[512] __attribute__((aligned(16)));
  uint64_t gpr[8];
  uint64_t rflags;
  uint64_t signal;
  uint8_t memory[640];
  uint8_t code[16];
  uint64_t scratch[2];
};

static struct record current;
static sigjmp_buf back;

void run_instruction(struct record *r);
__asm__(
  ".globl run_instruction\n"
  "run_instruction:\n"
  "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
  "  mov %rdi, %r15\n"
  "  fxrstor64 (%r15)\n"
  "  mov 512(%r15), %rax\n mov 520(%r15), %rcx\n mov 528(%r15), %rdx\n mov 536(%r15), %rbx\n"
  "  mov 544(%r15), %rsi\n mov 560(%r15), %r8\n mov 568(%r15), %r9\n"
  "  push 576(%r15)\n"
  "  mov 552(%r15), %rdi\n"
  "  mov $0x30000000, %r14\n"
  "  popfq\n"
  "  call *%r14\n"
  "  pushfq\n pop 576(%r15)\n"
  "  mov %rax, 512(%r15)\n mov %rcx, 520(%r15)\n mov %rdx, 528(%r15)\n mov %rbx, 536(%r15)\n"
  "  mov %rsi, 544(%r15)\n mov %rdi, 552(%r15)\n mov %r8, 560(%r15)\n mov %r9, 568(%r15)\n"
  "  fxsave64 (%r15)\n"
  "  fninit\n cld\n"
  "  movl $0x1f80, 1248(%r15)\n ldmxcsr 1248(%r15)\n"
  "  pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
  "  ret\n");

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)info;
  ucontext_t *u = context;
  greg_t *g = u->uc_mcontext.gregs;
  current.signal = number;
  memcpy(current.fx, u->uc_mcontext.fpregs, 512);
  const int order[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSI, REG_RDI, REG_R8, REG_R9};
  for (int i = 0; i < 8; i++) current.gpr[i] = g[order[i]];
  current.rflags = g[REG_EFL];
  siglongjmp(back, 1);
}

int main(void) {
  uint8_t *memory = mmap((void *)MEMORY_ADDRESS, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  uint8_t *code = mmap((void *)CODE_ADDRESS, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (memory == MAP_FAILED || code == MAP_FAILED) return 1;
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  const int caught[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
  for (int i = 0; i < 5; i++) sigaction(caught[i], &action, 0);
  while (fread(&current, sizeof current, 1, stdin) == 1) {
    memcpy(memory, current.memory, sizeof current.memory);
    memcpy(code, current.code, 16);
    current.signal = 0;
    if (sigsetjmp(back, 1) == 0) run_instruction(&current);
    else __asm__ volatile("fninit; cld");
    uint32_t mxcsr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    memcpy(current.memory, memory, sizeof current.memory);
    if (fwrite(&current, sizeof current, 1, stdout) != 1) return 1;
  }
  return 0;
}
