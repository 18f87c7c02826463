/*
 * Litmus tests of the x86 memory model (TSO) between CPUs. Each test runs many instances of a shape, one after another on every
 * CPU of it, nearly in step; then CPU 0 counts the outcomes that x86 forbids and those that only a store buffer explains.
 * Command line: rounds=N (instances of each shape), cpus=N (2 or 4; IRIW needs 4). Prints a line a test and leaves through
 * isa-debug-exit with the number of tests that saw a forbidden outcome, or 99 after an exception.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4, TRAMPOLINE = 0x8000 };
enum { BATCH = 5000, STEP_SPINS = 40, MAX_CPUS = 4 };

struct boot_info { u32 flags, mem_lower, mem_upper, boot_device, cmdline; };
struct gate { u16 low, selector, type, mid; u32 high, zero; };
/* What an instance of a shape works on; the two variables lie in lines of their own. */
struct line { volatile u32 value; u32 unused[15]; };
struct outcome { u32 r[2]; };

extern u8 trampoline[], trampoline_end[];
extern struct gate idt[256];
void exception_stub(void);
u32 patched(void);
extern volatile u32 patched_value;

static struct line x[BATCH], y[BATCH];
static struct outcome out[MAX_CPUS][BATCH];
static volatile u32 progress[MAX_CPUS * 16] __attribute__((aligned(64)));
static volatile u32 arrived __attribute__((aligned(64)));
static volatile u32 generation __attribute__((aligned(64)));
static volatile u8 shared_bytes[256] __attribute__((aligned(64)));
static volatile u32 spin_lock __attribute__((aligned(64)));
static volatile u32 code_turn __attribute__((aligned(64)));
static volatile u64 wide[BATCH * 8] __attribute__((aligned(64)));
static u32 cpus = 2, rounds = 100000, failed;

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }

static void put(const char *text)
{
    for (; *text; text++) {
        while (!(in8(COM1 + 5) & 0x20))
            ;
        out8(COM1, (u8)*text);
    }
}
static void put_decimal(u32 value)
{
    char digits[11];
    int n = 10;
    digits[10] = 0;
    do
        digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    put(digits + n);
}
static void leave(u32 value)
{
    out32(DEBUG_EXIT, value);
    for (;;)
        __asm__ volatile("cli; hlt");
}
void unexpected_exception(void)
{
    put("litmus: unexpected exception\n");
    leave(99);
}

/* All CPUs of a test meet here. */
static void barrier(void)
{
    u32 turn = generation;
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == cpus) {
        arrived = 0;
        __atomic_store_n(&generation, turn + 1, __ATOMIC_SEQ_CST);
        return;
    }
    while (generation == turn)
        pause();
}

/* Waits for the others to come near, but not for ever: a CPU may have no host core now. */
static inline void keep_step(u32 cpu, u32 width, u32 i)
{
    progress[cpu * 16] = i;
    for (u32 spin = 0; spin < STEP_SPINS; spin++) {
        u32 behind = 0;
        for (u32 other = 0; other < width; other++)
            behind |= progress[other * 16] < i;
        if (!behind)
            return;
    }
}

/* Two accesses in program order, in the order that the assembler has them. */
#define STORE_LOAD(a, b, fence) \
    __asm__ volatile("movl $1, %1\n\t" fence "movl %2, %0" : "=&r"(r[0]), "=m"(a) : "m"(b) : "memory")
#define STORE_STORE(a, va, b, vb) \
    __asm__ volatile("movl %2, %0\n\tmovl %3, %1" : "=m"(a), "=m"(b) : "i"(va), "i"(vb) : "memory")
#define LOAD_LOAD(a, b) \
    __asm__ volatile("movl %2, %0\n\tmovl %3, %1" : "=&r"(r[0]), "=&r"(r[1]) : "m"(a), "m"(b) : "memory")
#define LOAD_STORE(a, b) \
    __asm__ volatile("movl %2, %0\n\tmovl $1, %1" : "=&r"(r[0]), "=m"(b) : "m"(a) : "memory")
#define EXCHANGE_LOAD(a, b) \
    __asm__ volatile("movl $1, %%eax\n\txchgl %%eax, %1\n\tmovl %2, %0" : "=&r"(r[0]), "+m"(a) : "m"(b) : "eax", "memory")

#define X (x[i].value)
#define Y (y[i].value)

static void sb(u32 cpu, u32 i, u32 *r) { if (cpu) STORE_LOAD(Y, X, ""); else STORE_LOAD(X, Y, ""); }
static void sb_mfence(u32 cpu, u32 i, u32 *r) { if (cpu) STORE_LOAD(Y, X, "mfence\n\t"); else STORE_LOAD(X, Y, "mfence\n\t"); }
static void sb_xchg(u32 cpu, u32 i, u32 *r) { if (cpu) EXCHANGE_LOAD(Y, X); else EXCHANGE_LOAD(X, Y); }
static void sb_locked(u32 cpu, u32 i, u32 *r)
{
    if (cpu) STORE_LOAD(Y, X, "lock orl $0, -64(%%rsp)\n\t"); else STORE_LOAD(X, Y, "lock orl $0, -64(%%rsp)\n\t");
}
static void mp(u32 cpu, u32 i, u32 *r) { if (cpu) LOAD_LOAD(Y, X); else STORE_STORE(X, 1, Y, 1); }
static void lb(u32 cpu, u32 i, u32 *r) { if (cpu) LOAD_STORE(Y, X); else LOAD_STORE(X, Y); }
static void two_plus_two_w(u32 cpu, u32 i, u32 *r)
{
    (void)r;
    if (cpu) STORE_STORE(Y, 1, X, 2); else STORE_STORE(X, 1, Y, 2);
}
static void corr(u32 cpu, u32 i, u32 *r) { if (cpu) LOAD_LOAD(X, X); else X = 1; }
static void iriw(u32 cpu, u32 i, u32 *r)
{
    if (cpu == 0) X = 1;
    else if (cpu == 1) Y = 1;
    else if (cpu == 2) LOAD_LOAD(X, Y);
    else LOAD_LOAD(Y, X);
}
/* Eight bytes at an odd address within a line are one access. */
static volatile u64 *odd(u32 i) { return (volatile u64 *)((u8 *)&wide[i * 8] + 3); }
static void tear(u32 cpu, u32 i, u32 *r)
{
    if (cpu == 0) {
        *odd(i) = ~0ul;
    } else {
        u64 value = *odd(i);
        r[0] = (u32)value;
        r[1] = (u32)(value >> 32);
    }
}

/* What each shape's outcome is: 1 forbidden, 2 allowed only by a store buffer. */
static int both_zero(u32 i) { return out[0][i].r[0] == 0 && out[1][i].r[0] == 0; }
static int judge_sb(u32 i) { return both_zero(i) ? 2 : 0; }
static int judge_sb_fenced(u32 i) { return both_zero(i); }
static int judge_mp(u32 i) { return out[1][i].r[0] == 1 && out[1][i].r[1] == 0; }
static int judge_lb(u32 i) { return out[0][i].r[0] == 1 && out[1][i].r[0] == 1; }
static int judge_two_plus_two_w(u32 i) { return X == 1 && Y == 1; }
static int judge_iriw(u32 i)
{
    return out[2][i].r[0] == 1 && out[2][i].r[1] == 0 && out[3][i].r[0] == 1 && out[3][i].r[1] == 0;
}
static int judge_tear(u32 i) { return out[1][i].r[0] != out[1][i].r[1]; }

/* Instances that the CPUs really ran at the same time show as outcomes of either order. */
static int first_wins(u32 i) { return out[1][i].r[0] != 0; }

struct shape {
    const char *name;
    u32 width;
    void (*run)(u32 cpu, u32 i, u32 *r);
    int (*judge)(u32 i);
};
static const struct shape shapes[] = {
    { "SB", 2, sb, judge_sb },
    { "SB+mfence", 2, sb_mfence, judge_sb_fenced },
    { "SB+xchg", 2, sb_xchg, judge_sb_fenced },
    { "SB+lock", 2, sb_locked, judge_sb_fenced },
    { "MP", 2, mp, judge_mp },
    { "LB", 2, lb, judge_lb },
    { "2+2W", 2, two_plus_two_w, judge_two_plus_two_w },
    { "CoRR", 2, corr, judge_mp },
    { "tear", 2, tear, judge_tear },
    { "IRIW", 4, iriw, judge_iriw },
};

static void verdict(const char *name, u32 count, u32 forbidden)
{
    put(name);
    put(": rounds ");
    put_decimal(count);
    put(" forbidden ");
    put_decimal(forbidden);
    if (forbidden)
        failed++;
}

static void run_shape(u32 cpu, const struct shape *shape)
{
    u32 forbidden = 0, relaxed = 0, ones = 0;
    if (shape->width > cpus)
        return;
    for (u32 done = 0; done < rounds; done += BATCH) {
        u32 count = rounds - done < BATCH ? rounds - done : BATCH;
        if (cpu == 0) {
            for (u32 i = 0; i < count; i++) {
                X = Y = 0;
                *odd(i) = 0;
            }
            for (u32 i = 0; i < MAX_CPUS; i++)
                progress[i * 16] = 0;
        }
        barrier();
        if (cpu < shape->width) {
            for (u32 i = 0; i < count; i++) {
                keep_step(cpu, shape->width, i);
                shape->run(cpu, i, out[cpu][i].r);
            }
            progress[cpu * 16] = ~0u;
        }
        barrier();
        for (u32 i = 0; cpu == 0 && i < count; i++) {
            int judged = shape->judge(i);
            forbidden += judged == 1;
            relaxed += judged == 2;
            ones += first_wins(i);
        }
    }
    if (cpu)
        return;
    verdict(shape->name, rounds, forbidden);
    put(" relaxed ");
    put_decimal(relaxed);
    put(" ones ");
    put_decimal(ones);
    put("\n");
}

/* Exclusion: every CPU adds one `rounds` times, each test in its own way. */
static void *at(u32 offset) { return (void *)(shared_bytes + offset); }

static void add_xadd(void) { __asm__ volatile("lock xaddl %0, %1" : : "r"(1), "m"(*(u32 *)at(0)) : "memory"); }
static void add_inc(void) { __asm__ volatile("lock incl %0" : : "m"(*(u32 *)at(0)) : "memory"); }
static void add_odd(void) { __asm__ volatile("lock incl %0" : : "m"(*(u32 *)at(5)) : "memory"); }
static void add_odd_wide(void) { __asm__ volatile("lock incq %0" : : "m"(*(u64 *)at(11)) : "memory"); }
static void add_odd_xadd(void) { __asm__ volatile("lock xaddw %0, %1" : : "r"((u16)1), "m"(*(u16 *)at(7)) : "memory"); }
static void add_across(void) { __asm__ volatile("lock incl %0" : : "m"(*(u32 *)at(62)) : "memory"); }
static void add_cmpxchg(void)
{
    u32 old = *(volatile u32 *)at(0);
    while (!__atomic_compare_exchange_n((u32 *)at(0), &old, old + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}
static void add_cmpxchg16b(void)
{
    u64 low = 0, high = 0;
    u8 done;
    do {
        __asm__ volatile("lea 1(%%rax), %%rbx\n\tmov %%rdx, %%rcx\n\tadd $3, %%rcx\n\tlock cmpxchg16b %0\n\tsete %3"
                         : "+m"(*(u64 *)at(64)), "+a"(low), "+d"(high), "=q"(done) : : "rbx", "rcx", "memory", "cc");
    } while (!done);
}
static void add_under_xchg(void)
{
    u32 taken;
    do {
        taken = 1;
        __asm__ volatile("xchgl %0, %1" : "+r"(taken), "+m"(spin_lock) : : "memory");
        if (taken)
            pause();
    } while (taken);
    ++*(volatile u32 *)at(0);
    __asm__ volatile("movl $0, %0" : "=m"(spin_lock) : : "memory");
}
static void add_under_bts(void)
{
    u8 taken;
    do
        __asm__ volatile("lock btsl $7, %1\n\tsetc %0" : "=q"(taken), "+m"(spin_lock) : : "memory", "cc");
    while (taken);
    ++*(volatile u32 *)at(0);
    __asm__ volatile("lock btrl $7, %0" : "+m"(spin_lock) : : "memory", "cc");
}

struct exclusion {
    const char *name;
    void (*add)(void);
    u32 offset, bytes;
};
static const struct exclusion exclusions[] = {
    { "lock xadd", add_xadd, 0, 4 },
    { "lock inc", add_inc, 0, 4 },
    { "lock inc misaligned", add_odd, 5, 4 },
    { "lock inc misaligned 64", add_odd_wide, 11, 8 },
    { "lock xadd misaligned 16", add_odd_xadd, 7, 2 },
    { "lock inc across lines", add_across, 62, 4 },
    { "lock cmpxchg", add_cmpxchg, 0, 4 },
    { "lock cmpxchg16b", add_cmpxchg16b, 64, 8 },
    { "xchg spin lock", add_under_xchg, 0, 4 },
    { "lock bts spin lock", add_under_bts, 0, 4 },
};

static void run_exclusion(u32 cpu, const struct exclusion *test)
{
    if (cpu == 0)
        for (u32 i = 0; i < sizeof shared_bytes; i++)
            shared_bytes[i] = 0;
    barrier();
    for (u32 i = 0; i < rounds; i++)
        test->add();
    barrier();
    if (cpu)
        return;
    u64 mask = test->bytes == 8 ? ~0ul : (1ul << (test->bytes * 8)) - 1;
    u64 expected = (u64)rounds * cpus & mask, total = *(volatile u64 *)at(test->offset) & mask;
    u32 wrong = total != expected;
    if (test->add == add_cmpxchg16b)
        wrong |= *(volatile u64 *)at(72) != 3 * (u64)rounds * cpus;
    for (u32 i = 0; i < sizeof shared_bytes; i++) {
        int inside = i >= test->offset && i < test->offset + (test->add == add_cmpxchg16b ? 16 : test->bytes);
        wrong |= !inside && shared_bytes[i];
    }
    verdict(test->name, rounds, wrong);
    put("\n");
}

/* Each CPU counts in a byte of its own beside the others': no LOCK on one may lose what another wrote. */
static void run_neighbours(u32 cpu)
{
    if (cpu == 0)
        for (u32 i = 0; i < MAX_CPUS; i++)
            shared_bytes[i] = 0;
    barrier();
    for (u32 i = 0; i < rounds; i++) {
        if (cpu & 1)
            shared_bytes[cpu]++;
        else
            __asm__ volatile("lock incb %0" : "+m"(shared_bytes[cpu]) : : "cc");
    }
    barrier();
    if (cpu)
        return;
    u32 wrong = 0;
    for (u32 i = 0; i < cpus; i++)
        wrong += shared_bytes[i] != (u8)rounds;
    verdict("byte neighbours", rounds, wrong);
    put("\n");
}

/* Cross-modifying code, SDM vol. 3 §9.1.3: the executing CPU serialises before it runs what the other wrote. */
static void run_cross_modifying(u32 cpu)
{
    u32 turns = rounds / 50 + 100, stale = 0;
    if (cpu == 0)
        code_turn = 0;
    barrier();
    for (u32 turn = 1; cpu < 2 && turn <= turns; turn++) {
        if (cpu == 0) {
            patched_value = turn;
            code_turn = 2 * turn - 1;
            while (code_turn != 2 * turn)
                pause();
        } else {
            u32 a = 0, b, c = 0, d;
            while (code_turn != 2 * turn - 1)
                pause();
            __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
            stale += patched() != turn;
            code_turn = 2 * turn;
        }
    }
    if (cpu == 1)
        out[1][0].r[0] = stale;
    barrier();
    if (cpu)
        return;
    verdict("cross-modifying code", turns, out[1][0].r[0]);
    put("\n");
}

/* One's own code needs a jump only. */
static void run_self_modifying(u32 cpu)
{
    u32 turns = rounds / 50 + 100, stale = 0;
    if (cpu)
        return;
    for (u32 turn = 1; turn <= turns; turn++) {
        patched_value = turn;
        stale += patched() != turn;
    }
    verdict("self-modifying code", turns, stale);
    put("\n");
}

static u32 number_after(const char *text, const char *word, u32 otherwise)
{
    for (; *text; text++) {
        const char *at = text, *expected = word;
        u32 value = 0;
        while (*expected && *at == *expected)
            at++, expected++;
        if (*expected)
            continue;
        while (*at >= '0' && *at <= '9')
            value = value * 10 + (u32)(*at++ - '0');
        return value;
    }
    return otherwise;
}

static void start_others(void)
{
    volatile u32 *icr = (volatile u32 *)0xfee00300ul;
    for (u32 i = 0; i < (u32)(trampoline_end - trampoline); i++)
        ((volatile u8 *)TRAMPOLINE)[i] = trampoline[i];
    *(volatile u32 *)0xfee000f0ul = 0x1ff;
    *icr = 0x000c4500;
    for (u32 i = 0; i < 20000; i++)
        in8(0x80);
    *icr = 0x000c4600 | (TRAMPOLINE >> 12);
}

void cpu_main(u32 cpu, const struct boot_info *info)
{
    if (cpu == 0) {
        for (u32 i = 0; i < 32; i++) {
            u64 address = (u64)exception_stub;
            idt[i] = (struct gate){ (u16)address, 0x18, 0x8e00, (u16)(address >> 16), (u32)(address >> 32), 0 };
        }
        const char *words = (const char *)(u64)info->cmdline;
        rounds = number_after(words, "rounds=", rounds);
        cpus = number_after(words, "cpus=", cpus);
        start_others();
    }
    if (cpu >= MAX_CPUS)
        return;
    if (cpu == 0)
        while (progress[0] != cpus - 1)
            pause();
    else
        __atomic_add_fetch(&progress[0], 1, __ATOMIC_SEQ_CST);
    barrier();
    for (u32 i = 0; i < sizeof shapes / sizeof *shapes; i++)
        run_shape(cpu, &shapes[i]);
    for (u32 i = 0; i < sizeof exclusions / sizeof *exclusions; i++)
        run_exclusion(cpu, &exclusions[i]);
    run_neighbours(cpu);
    run_cross_modifying(cpu);
    run_self_modifying(cpu);
    barrier();
    if (cpu)
        return;
    put("litmus: done\n");
    leave(failed);
}
