/*
 * What the 64-bit payloads share (with bare64-entry.S): ports, printing on COM1, the local APIC in both modes, interrupts,
 * starting the other CPUs, privilege 3, and the end through isa-debug-exit. No library, no x87 or SSE in C.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4, TRAMPOLINE = 0x8000, MAX_CPUS = 64 };
enum { IA32_TSC = 0x10, IA32_APIC_BASE = 0x1b, IA32_TSC_DEADLINE = 0x6e0, X2APIC = 0x800 };
enum {
    APIC_ID = 0x20, APIC_EOI = 0xb0, APIC_SVR = 0xf0, APIC_ISR = 0x100, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320, APIC_LVT_LINT0 = 0x350, APIC_TIMER_INITIAL = 0x380, APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0
};
enum { IOAPIC = 0xfec00000u, VECTOR_FIRST = 32, VECTOR_SPURIOUS = 0xff };

struct boot_info {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline;
};
struct frame {
    u64 rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11, vector, error, rip, cs, rflags, rsp, ss;
};
struct tss { u32 reserved; u64 rsp0; u8 rest[116]; } __attribute__((packed, aligned(16)));
struct user { struct tss *tss; u64 rip; };

extern u8 trampoline[], trampoline_end[], stubs[];
extern u64 gdt_tss[], idt[];
void load_tables(u32 cpu);
u64 run_user(void *code, u64 argument, void *stack, struct user *user);
void cpu_main(u32 cpu, struct boot_info *info);
void interrupt(struct frame *frame);

static struct tss tss[MAX_CPUS];
static void (*handlers[256])(void);
static volatile u32 counts[256];
static volatile u32 cpus_up;
static int x2apic;

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u16 in16(u16 port)
{
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 in32(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u64 read_msr(u32 msr)
{
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return ((u64)high << 32) | low;
}
static inline void write_msr(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
static inline volatile u32 *mmio32(u64 address) { return (volatile u32 *)address; }
static inline u64 read_tsc(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ((u64)high << 32) | low;
}
static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void halt(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }

static inline void put_char(char c)
{
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, (u8)c);
}
static inline void put(const char *text)
{
    for (; *text; text++)
        put_char(*text);
}
static inline void put_hex(u64 value)
{
    int shift = 60;
    while (shift > 0 && !(value >> shift))
        shift -= 4;
    put("0x");
    for (; shift >= 0; shift -= 4)
        put_char("0123456789abcdef"[(value >> shift) & 15]);
}
/* A line of the report: what was looked at, and what came out. */
static inline void report(const char *name, u64 value)
{
    put(name);
    put(": ");
    put_hex(value);
    put_char('\n');
}
static inline void leave(u32 code)
{
    out32(DEBUG_EXIT, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static inline u32 apic_read(u32 offset)
{
    if (x2apic)
        return (u32)read_msr(X2APIC + (offset >> 4));
    return *mmio32(0xfee00000u + offset);
}
static inline void apic_write(u32 offset, u32 value)
{
    if (x2apic)
        write_msr(X2APIC + (offset >> 4), value);
    else
        *mmio32(0xfee00000u + offset) = value;
}
static inline void send_ipi(u32 destination, u32 low)
{
    if (x2apic) {
        write_msr(X2APIC + (APIC_ICR >> 4), ((u64)destination << 32) | low);
        return;
    }
    *mmio32(0xfee00000u + APIC_ICR_HIGH) = destination << 24;
    *mmio32(0xfee00000u + APIC_ICR) = low;
}
static inline void enable_apic(int use_x2apic)
{
    u64 base = read_msr(IA32_APIC_BASE) | (1 << 11);
    write_msr(IA32_APIC_BASE, base);
    if (use_x2apic)
        write_msr(IA32_APIC_BASE, base | (1 << 10));
    x2apic = use_x2apic;
    apic_write(APIC_SVR, 0x100 | VECTOR_SPURIOUS);
}

void interrupt(struct frame *frame)
{
    u32 vector = (u32)frame->vector;
    __atomic_fetch_add(&counts[vector], 1, __ATOMIC_SEQ_CST);
    if (handlers[vector]) {
        handlers[vector]();
    } else if (vector < VECTOR_FIRST) {
        report("unexpected exception", vector);
        report("error code", frame->error);
        report("rip", frame->rip);
        leave(0x70);
    }
    if (vector >= VECTOR_FIRST && vector != VECTOR_SPURIOUS)
        apic_write(APIC_EOI, 0);
}

static inline void set_gate(u32 vector, u32 dpl)
{
    u64 at = (u64)stubs + vector * 16;
    idt[vector * 2] = (at & 0xffff) | (0x18ull << 16) | (0x8e00ull | (dpl << 13)) << 32 | ((at >> 16) & 0xffff) << 48;
    idt[vector * 2 + 1] = at >> 32;
}
/* Tables of all CPUs: once, by the boot CPU. The 8259, whose vectors are exceptions' at first, is masked. */
static inline void set_up_tables(void)
{
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    for (u32 vector = 0; vector < 256; vector++)
        set_gate(vector, 0);
    for (u32 cpu = 0; cpu < MAX_CPUS; cpu++) {
        u64 base = (u64)&tss[cpu];
        gdt_tss[cpu * 2] = (sizeof(struct tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | ((base >> 24) & 0xff) << 56;
        gdt_tss[cpu * 2 + 1] = base >> 32;
    }
}
/* INIT and SIPI to all others; waits until `expected` have counted themselves. */
static inline void start_cpus(u32 expected)
{
    for (u32 i = 0; trampoline + i < trampoline_end; i++)
        ((volatile u8 *)(u64)TRAMPOLINE)[i] = trampoline[i];
    if (!expected)
        return;
    send_ipi(0, 0xc4500);
    for (u32 i = 0; i < 1000; i++)
        pause();
    send_ipi(0, 0xc4600 | (TRAMPOLINE >> 12));
    while (__atomic_load_n(&cpus_up, __ATOMIC_SEQ_CST) < expected)
        pause();
}

/* A number behind `name=` on the command line, or `otherwise`. */
static inline u32 option(const struct boot_info *info, const char *name, u32 otherwise)
{
    for (const char *at = (const char *)(u64)info->cmdline; *at; at++) {
        const char *a = at, *b = name;
        while (*b && *a == *b)
            a++, b++;
        if (*b || *a != '=')
            continue;
        u32 value = 0;
        for (a++; *a >= '0' && *a <= '9'; a++)
            value = value * 10 + (u32)(*a - '0');
        return value;
    }
    return otherwise;
}
