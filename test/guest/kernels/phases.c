/*
 * A payload that computes for a while on every CPU and then says what came out: phases of SSE and integers at privilege 3,
 * of LOCK and memory at privilege 0, with the LAPIC timer ticking. Each phase starts from the last one's result, so that a
 * register lost anywhere shows at the end. With pic=1 the 8259's timer ticks meanwhile, and must tick still at the end. Options:
 * cpus=N, phases=N, x2apic=1, pic=1; others=N: that many CPUs more must have finished, whoever starts them.
 */
#include "bare64.h"

enum { VECTOR_PIT = 0x20, VECTOR_TICK = 0x41, MEMORY_ROUNDS = 400 };

struct work { u64 integer, spare; u32 packed[4]; u64 pair[2]; u32 lanes[4]; u64 x87[2]; };

static struct work works[MAX_CPUS] __attribute__((aligned(16)));
static u8 user_stacks[MAX_CPUS][1024] __attribute__((aligned(16)));
static volatile u32 done, phases, shared;
static volatile u32 ticks[MAX_CPUS];
static u32 table[1024];

void user_phase(void);
__asm__(
    ".globl user_phase\nuser_phase:\n"               /* RDI: struct work */
    "  mov (%rdi), %rax\n  movaps 16(%rdi), %xmm0\n  movapd 32(%rdi), %xmm2\n  movdqa 48(%rdi), %xmm3\n"
    "  mov $6364136223846793005, %rcx\n  lea 2f(%rip), %rdx\n  movaps (%rdx), %xmm1\n  movapd 16(%rdx), %xmm7\n  mov $20000, %esi\n"
    "  fninit\n  fildq 64(%rdi)\n  fld1\n"
    "1: imul %rcx, %rax\n  add $1442695, %rax\n  movq %rax, %xmm6\n"
    "  mulps %xmm1, %xmm0\n  addps %xmm1, %xmm0\n  mulpd %xmm7, %xmm2\n  addpd %xmm7, %xmm2\n"
    "  paddd %xmm6, %xmm3\n  pshufd $0x39, %xmm3, %xmm3\n  fadd %st(0), %st(1)\n"
    "  dec %esi\n  jnz 1b\n"
    "  fstp %st(0)\n  fistpq 64(%rdi)\n"
    "  mov %rax, (%rdi)\n  movaps %xmm0, 16(%rdi)\n  movapd %xmm2, 32(%rdi)\n  movdqa %xmm3, 48(%rdi)\n  ud2\n"
    "  .align 16\n2: .float 0.5, 0.75, 0.125, 0.3\n  .double 0.25, 0.625\n");

static u32 own_cpu(void)
{
    u32 id = apic_read(APIC_ID);
    return x2apic ? id : id >> 24;
}

static void tick(void) { ticks[own_cpu()]++; }

static void compute(u32 cpu)
{
    struct work *work = &works[cpu];
    struct user user = { &tss[cpu], 0 };
    static const u32 floats[4] = { 0x3f800000, 0x40000000, 0x3f000000, 0x40400000 };
    for (u32 i = 0; i < 4; i++)
        work->packed[i] = floats[i];
    work->pair[0] = 0x3ff8000000000000, work->pair[1] = 0x3fc0000000000000;
    work->integer = cpu + 1;
    apic_write(APIC_TIMER_DIVIDE, 0x3);
    apic_write(APIC_LVT_TIMER, VECTOR_TICK | 1 << 17);
    apic_write(APIC_TIMER_INITIAL, 250000);              /* 4 ms */
    for (u32 phase = 0; phase < phases; phase++) {
        u64 vector = run_user((void *)user_phase, (u64)work, user_stacks[cpu] + 1016, &user);
        if (vector != 6) {
            report("unexpected exception", vector);
            report("at", user.rip);
            leave(0x60);
        }
        __asm__ volatile("sti");
        for (u32 i = 0; i < MEMORY_ROUNDS; i++) {
            u32 at = (u32)(work->integer >> 33) & 1023;
            __atomic_fetch_add(&table[at], 1, __ATOMIC_SEQ_CST);
            work->integer = work->integer * 2862933555777941757ull + 3037000493ull;
        }
        __asm__ volatile("cli");
        __atomic_fetch_add(&shared, 1, __ATOMIC_SEQ_CST);
    }
    apic_write(APIC_LVT_TIMER, 1 << 16);
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

static void acknowledge_pic(void) { out8(0x20, 0x20); }

/* 2 kHz to CPU 0, through LINT0 as ExtINT. */
static void start_pit(void)
{
    out8(0x20, 0x11), out8(0x21, VECTOR_PIT), out8(0x21, 4), out8(0x21, 1);
    out8(0x21, 0xfe);
    handlers[VECTOR_PIT] = acknowledge_pic;
    apic_write(APIC_LVT_LINT0, 0x700);
    out8(0x43, 0x34), out8(0x40, 0x54), out8(0x40, 0x02);
}

/* An interrupt that was lost on its way from the 8259 stays in service there for ever. */
static void check_pit(void)
{
    u32 seen = counts[VECTOR_PIT];
    while (counts[VECTOR_PIT] - seen < 3)
        halt();
    report("8259: it ticks still", 1);
}

void cpu_main(u32 cpu, struct boot_info *info)
{
    if (cpu != 0) {
        enable_apic(x2apic);
        u32 own = own_cpu();                             /* arrival is in any order, results are by id */
        load_tables(own);
        __atomic_fetch_add(&cpus_up, 1, __ATOMIC_SEQ_CST);
        compute(own);
        for (;;)
            halt();
    }
    u32 cpus = option(info, "cpus", 1);
    phases = option(info, "phases", 100);
    set_up_tables();
    load_tables(0);
    handlers[VECTOR_TICK] = tick;
    enable_apic((int)option(info, "x2apic", 0));
    put("phases: hello\n");
    u32 pic = option(info, "pic", 0);
    if (pic)
        start_pit();
    start_cpus(cpus - 1);
    compute(0);
    u32 others = option(info, "others", 0);
    while (done < cpus + others)
        pause();
    for (u32 i = 0; i < cpus; i++) {
        const u64 *words = (const u64 *)&works[i];
        u64 sum = 0;
        for (u32 j = 0; j < sizeof(struct work) / 8; j++)
            sum = sum * 31 + words[j];
        report("result", sum);
        if (ticks[i] == 0)
            report("no tick on CPU", i);
    }
    if (pic)
        check_pit();
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++)
        sum = sum * 31 + table[i];
    report("table", sum);
    report("phases of all", shared);
    put("phases: done\n");
    leave(0);
}
