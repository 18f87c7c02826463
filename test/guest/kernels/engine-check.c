/*
 * A payload that says on COM1 what a CPU engine did, so that two engines can be compared line by line: privilege 3 with SSE and
 * x87, exceptions, INIT and SIPI, IPIs in both APIC modes, the LAPIC timer in its three modes, the 8259's PIT, edge and level
 * pins of the IOAPIC, ports of all widths and string ports, MMIO of all widths, LOCK between CPUs. Nothing that is
 * printed depends on time. Options: cpus=N.
 */
#include "bare64.h"

enum { VECTOR_PIT = 0x20, VECTOR_IPI = 0x40, VECTOR_TIMER = 0x41, VECTOR_SELF = 0x42, VECTOR_UART = 0x51 };
enum { LOCK_ROUNDS = 2000, TIMER_TICKS = 5 };

static volatile u32 shared_counter, locked_rounds, go, answers;
static u8 user_stack[MAX_CPUS][4096] __attribute__((aligned(16)));
static volatile u64 user_result[64] __attribute__((aligned(16)));
static volatile u32 uart_irqs;

/* ---- privilege 3 */

void user_integer(void);
void user_sse(void);
void user_x87(void);
void user_avx(void);
void user_fault(void);
void user_int3(void);
__asm__(
    ".globl user_integer\nuser_integer:\n"          /* a linear congruence, RDI rounds; ends in #UD */
    "  mov $1, %rax\n  mov $6364136223846793005, %rcx\n"
    "1: imul %rcx, %rax\n  add $1442695, %rax\n  dec %rdi\n  jnz 1b\n"
    "  mov %rax, user_result(%rip)\n  ud2\n"
    ".globl user_sse\nuser_sse:\n"                  /* packed and scalar SSE2 */
    "  lea 2f(%rip), %rax\n  movaps (%rax), %xmm0\n  movaps 16(%rax), %xmm1\n  movapd 32(%rax), %xmm2\n  movdqa 48(%rax), %xmm3\n"
    "1: mulps %xmm1, %xmm0\n  addps %xmm1, %xmm0\n  sqrtps %xmm0, %xmm4\n  maxps %xmm4, %xmm0\n"
    "  addpd %xmm2, %xmm2\n  sqrtpd %xmm2, %xmm5\n  addpd %xmm5, %xmm2\n  divsd %xmm5, %xmm2\n"
    "  paddd %xmm3, %xmm3\n  pshufd $0x39, %xmm3, %xmm3\n  pxor %xmm0, %xmm3\n  psrlq $3, %xmm3\n  punpcklbw %xmm3, %xmm3\n"
    "  cvttsd2si %xmm2, %rcx\n  cvtps2pd %xmm0, %xmm6\n  addsd %xmm6, %xmm2\n"
    "  dec %rdi\n  jnz 1b\n"
    "  movaps %xmm0, user_result(%rip)\n  movapd %xmm2, user_result+16(%rip)\n  movdqa %xmm3, user_result+32(%rip)\n"
    "  mov %rcx, user_result+48(%rip)\n  stmxcsr user_result+56(%rip)\n  ud2\n"
    "  .align 16\n2: .float 1.5, 0.25, 3.0, -2.0\n  .float 0.5, 0.75, 0.125, 0.3\n  .double 2.0, 3.5\n  .long 1, 2, 3, 0x80000001\n"
    ".globl user_avx\nuser_avx:\n"                  /* VEX.128; stores 1 before, 2 and the sums after */
    "  lea 2b(%rip), %rax\n  movq $1, user_result(%rip)\n  vmovaps (%rax), %xmm0\n  vaddps 16(%rax), %xmm0, %xmm1\n"
    "  movq $2, user_result(%rip)\n  vmovups %xmm1, user_result+8(%rip)\n  ud2\n"
    ".globl user_x87\nuser_x87:\n"
    "  fninit\n  fld1\n  fldpi\n  fmulp\n  fldl2e\n  faddp\n  fsqrt\n  fstpt user_result(%rip)\n"
    "  fildq 3f(%rip)\n  fldpi\n  fdivrp\n  fistpq user_result+16(%rip)\n  fnstcw user_result+24(%rip)\n  ud2\n"
    "  .align 8\n3: .quad 1000000007\n"
    ".globl user_fault\nuser_fault:\n  mov $0x800000000000, %rax\n  mov (%rax), %rax\n  ud2\n"
    ".globl user_int3\nuser_int3:\n  int3\n  ud2\n");

static void check_user(const char *name, void (*body)(void), u64 argument, u32 results)
{
    struct user user = { &tss[0], 0 };
    for (u32 i = 0; i < 16; i++)
        user_result[i] = 0;
    u64 vector = run_user((void *)body, argument, user_stack[0] + sizeof user_stack[0] - 8, &user);
    put(name);
    put(" ends with exception ");
    put_hex(vector);
    for (u32 i = 0; i < results; i++) {
        put(" ");
        put_hex(user_result[i]);
    }
    put("\n");
}

/* ---- interrupts */

static void wait_for(u32 vector, u32 count)
{
    while (counts[vector] < count)
        halt();
}

/* Takes what is still in IRR, so that the next count starts at nothing. */
static void drain(void)
{
    __asm__ volatile("sti; nop; nop; cli" ::: "memory");
    counts[VECTOR_TIMER] = 0;
}

static void check_timer(void)
{
    counts[VECTOR_TIMER] = 0;
    apic_write(APIC_TIMER_DIVIDE, 0x3);                  /* by 16 */
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
    apic_write(APIC_TIMER_INITIAL, 20000);
    wait_for(VECTOR_TIMER, 1);
    report("one-shot: count at the end", apic_read(APIC_TIMER_CURRENT));
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | 1 << 17);
    apic_write(APIC_TIMER_INITIAL, 20000);
    wait_for(VECTOR_TIMER, 1 + TIMER_TICKS);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | 1 << 16);
    apic_write(APIC_TIMER_INITIAL, 0);
    report("periodic: ticks seen, at least", counts[VECTOR_TIMER] >= 1 + TIMER_TICKS);
    drain();
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | 2 << 17);
    write_msr(IA32_TSC_DEADLINE, read_tsc() + 1000000);
    wait_for(VECTOR_TIMER, 1);
    report("TSC deadline: the MSR after it", read_msr(IA32_TSC_DEADLINE));
    write_msr(IA32_TSC_DEADLINE, 1);                     /* long past: at once */
    wait_for(VECTOR_TIMER, 2);
    report("TSC deadline in the past: interrupts", counts[VECTOR_TIMER]);
    apic_write(APIC_LVT_TIMER, 1 << 16);
}

static void acknowledge_pic(void) { out8(0x20, 0x20); }

/* The 8259's timer through LINT0 as ExtINT. Its vector needs no EOI of the LAPIC: one more does no harm. */
static void check_pit(void)
{
    out8(0x20, 0x11), out8(0x21, VECTOR_PIT), out8(0x21, 4), out8(0x21, 1);
    out8(0xa0, 0x11), out8(0xa1, VECTOR_PIT + 8), out8(0xa1, 2), out8(0xa1, 1);
    out8(0x21, 0xfe), out8(0xa1, 0xff);
    handlers[VECTOR_PIT] = acknowledge_pic;
    apic_write(APIC_LVT_LINT0, 0x700);
    out8(0x43, 0x34), out8(0x40, 0x9c), out8(0x40, 0x2e);  /* 100 Hz */
    wait_for(VECTOR_PIT, 3);
    out8(0x21, 0xff);
    apic_write(APIC_LVT_LINT0, 1 << 16);
    report("8259: ticks seen, at least", counts[VECTOR_PIT] >= 3);
}

static void ioapic_pin(u32 pin, u32 low, u32 destination)
{
    *mmio32(IOAPIC) = 0x11 + pin * 2;
    *mmio32(IOAPIC + 0x10) = destination << 24;
    *mmio32(IOAPIC) = 0x10 + pin * 2;
    *mmio32(IOAPIC + 0x10) = low;
}

static u32 ioapic_low(u32 pin)
{
    *mmio32(IOAPIC) = 0x10 + pin * 2;
    return *mmio32(IOAPIC + 0x10);
}

/* Reading IIR takes the transmitter's interrupt back; the fifth time it is switched off at its source. */
static void serve_uart(void)
{
    u8 cause = in8(COM1 + 2);
    uart_irqs++;
    if (cause & 1)
        return;
    if (uart_irqs < 5)
        out8(COM1 + 1, 0), out8(COM1 + 1, 2);
    else
        out8(COM1 + 1, 0);
}

/* COM1's interrupt as an edge pin, then as a level pin, whose EOI must reach the IOAPIC. */
static void check_ioapic(u32 level)
{
    uart_irqs = 0;
    handlers[VECTOR_UART] = serve_uart;
    ioapic_pin(4, VECTOR_UART | (level ? 1 << 15 : 0), (x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24));
    out8(COM1 + 1, 2);                                   /* the transmitter is empty: at once */
    while (uart_irqs < 5)
        halt();
    for (u32 i = 0; i < 1000 && (ioapic_low(4) & 1 << 14); i++)
        pause();
    u32 low = ioapic_low(4);
    ioapic_pin(4, 1 << 16, 0);
    report(level ? "IOAPIC level: interrupts" : "IOAPIC edge: interrupts", uart_irqs);
    report("IOAPIC: entry at rest", low);
}

/* ---- other CPUs */

static void answer(void) { __atomic_fetch_add(&answers, 1, __ATOMIC_SEQ_CST); }

static void add_under_lock(void)
{
    for (u32 i = 0; i < LOCK_ROUNDS; i++) {
        __atomic_fetch_add(&shared_counter, 1, __ATOMIC_SEQ_CST);
        u32 seen = locked_rounds;
        while (!__atomic_compare_exchange_n(&locked_rounds, &seen, seen + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ;
    }
}

static void other_cpu(u32 cpu)
{
    load_tables(cpu);
    enable_apic(x2apic);
    __atomic_fetch_add(&cpus_up, 1, __ATOMIC_SEQ_CST);
    while (!go)
        halt();
    add_under_lock();
    __atomic_fetch_add(&cpus_up, 1, __ATOMIC_SEQ_CST);
    for (;;)
        halt();
}

static void check_cpus(u32 cpus)
{
    start_cpus(cpus - 1);
    report("other CPUs", cpus_up);
    handlers[VECTOR_IPI] = answer;
    for (u32 round = 1; round <= 10; round++) {
        send_ipi(0, 0xc4000 | VECTOR_IPI);               /* all others */
        while (answers < round * (cpus - 1))
            pause();
    }
    report("answers to IPIs", answers);
    go = 1;
    send_ipi(0, 0xc4000 | VECTOR_IPI);
    add_under_lock();
    while (cpus_up < 2 * (cpus - 1))
        pause();
    report("shared counter", shared_counter);
    report("rounds of compare and exchange", locked_rounds);
}

/* ---- ports and MMIO */

static void check_access(void)
{
    report("port 32: PCI host bridge", (out32(0xcf8, 0x80000000u), in32(0xcfc)));
    report("port 16: its vendor", in16(0xcfc));
    report("port 8: its device, high byte", in8(0xcff));
    report("MMIO 32: the same by ECAM", *mmio32(0xe0000000u));
    report("MMIO 16", *(volatile u16 *)0xe0000002ull);
    report("MMIO 8", *(volatile u8 *)0xe0000001ull);
    report("MMIO 64", *(volatile u64 *)0xe0000000ull);
    report("nothing there", *mmio32(0xd8000000u));
    report("IOAPIC version", (*mmio32(IOAPIC) = 1, *mmio32(IOAPIC + 0x10)));
    u8 bytes[4] = { 1, 2, 3, 4 };
    const void *from = bytes;
    u64 count = 4;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"((u16)0x80) : "memory");
    report("rep outsb: bytes left", count);
    void *to = bytes;
    count = 2;
    __asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"((u16)0xcfc) : "memory");
    report("rep insw", *(u32 *)bytes);
}

void cpu_main(u32 cpu, struct boot_info *info)
{
    if (cpu != 0)
        other_cpu(cpu);
    set_up_tables();
    load_tables(0);
    set_gate(3, 3);
    put("engine-check: hello\n");
    enable_apic(0);
    check_access();
    check_user("integers at privilege 3", user_integer, 100000, 1);
    check_user("SSE at privilege 3", user_sse, 1000, 8);
    check_user("x87 at privilege 3", user_x87, 0, 4);
    if (option(info, "avx", 0))
        check_user("AVX at privilege 3", user_avx, 0, 3);
    check_user("a non-canonical load", user_fault, 0, 0);
    check_user("INT3", user_int3, 0, 0);
    check_timer();
    check_pit();
    check_ioapic(0);
    check_ioapic(1);
    handlers[VECTOR_SELF] = answer;
    send_ipi(0, 0x44000 | VECTOR_SELF);                  /* to itself */
    wait_for(VECTOR_SELF, 1);
    report("self IPI", counts[VECTOR_SELF]);
    answers = 0;
    enable_apic(1);
    check_timer();
    check_ioapic(1);
    check_cpus(option(info, "cpus", 1));
    put("engine-check: done\n");
    leave(0);
}
