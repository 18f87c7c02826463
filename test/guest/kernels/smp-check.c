/*
 * A multiboot1 kernel that checks what a small SMP kernel expects of its machine: the boot information, the 8259 and
 * the PIT, INIT + SIPI by broadcast, LOCK between CPUs, and a local APIC that can be switched off and on. It prints
 * what it sees on COM1 and leaves through isa-debug-exit with 0, or with the number of the check that failed.
 * Command line: smp=N (CPUs to expect, 1 by default), keep-apic-off (do not switch the APIC on again: QEMU cannot).
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4, PIC1 = 0x20, PIC2 = 0xa0, PIT = 0x40 };
enum { TIMER_VECTOR = 0x20, TRAMPOLINE = 0x8000, AP_ROUNDS = 10000, TICKS_PER_SECOND = 1000 };
enum { IA32_APIC_BASE = 0x1b, APIC_GLOBAL_ENABLE = 1 << 11 };

struct boot_info {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
};
struct module { u32 start, end, string, reserved; };
struct mmap_entry { u32 size; u64 base, length; u32 type; } __attribute__((packed));
struct gate { u16 offset_low, selector, type, offset_high; } __attribute__((packed));

extern u8 trampoline[], trampoline_end[];
void timer_stub(void);
void spurious_stub(void);
void unexpected_stub(void);

volatile u32 ap_count, ap_rounds;
static volatile u32 ticks;
static struct gate idt[256] __attribute__((aligned(8)));

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
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
static inline u32 cpuid_features(void)
{
    u32 a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return d;
}
static volatile u32 *apic_register(u32 offset) { return (volatile u32 *)(0xfee00000u + offset); }

static void put_char(char c)
{
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, (u8)c);
}
static void put(const char *text)
{
    for (; *text; text++)
        put_char(*text);
}
static void put_hex(u32 value)
{
    put("0x");
    for (int shift = 28; shift >= 0; shift -= 4)
        put_char("0123456789abcdef"[(value >> shift) & 15]);
}
static void put_decimal(u32 value)
{
    char digits[10];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        put_char(digits[--n]);
}
static void put_value(const char *name, u32 value)
{
    put(name);
    put_decimal(value);
    put("\n");
}

static void leave(u32 value)
{
    put(value ? "smp-check: failed check " : "smp-check: ok ");
    put_decimal(value);
    put("\n");
    out32(DEBUG_EXIT, value);
    for (;;)
        __asm__ volatile("cli; hlt");
}
static void check(u32 number, int good, const char *what)
{
    if (good)
        return;
    put("smp-check: ");
    put(what);
    put("\n");
    leave(number);
}

void timer_interrupt(void)
{
    ticks++;
    out8(PIC1, 0x20);
}
void unexpected_interrupt(void)
{
    check(99, 0, "unexpected interrupt or exception");
}

static int starts_with(const char *text, const char *prefix)
{
    for (; *prefix; prefix++, text++)
        if (*text != *prefix)
            return 0;
    return 1;
}
static const char *find_word(const char *text, const char *prefix)
{
    for (; *text; text++)
        if ((*text == ' ') && starts_with(text + 1, prefix))
            return text + 1;
    return 0;
}

static void set_gate(u32 vector, void (*stub)(void))
{
    u32 address = (u32)stub;
    idt[vector] = (struct gate){(u16)address, 0x08, 0x8e00, (u16)(address >> 16)};
}

static void start_timer(void)
{
    struct { u16 limit; u32 base; } __attribute__((packed)) pointer = {sizeof idt - 1, (u32)idt};
    for (u32 vector = 0; vector < 256; vector++)
        set_gate(vector, unexpected_stub);
    set_gate(TIMER_VECTOR, timer_stub);
    set_gate(TIMER_VECTOR + 7, spurious_stub); /* a line that fell again before the CPU asked */
    set_gate(0xff, spurious_stub);
    __asm__ volatile("lidt %0" : : "m"(pointer));
    out8(PIC1, 0x11); out8(PIC1 + 1, TIMER_VECTOR); out8(PIC1 + 1, 4); out8(PIC1 + 1, 1);
    out8(PIC2, 0x11); out8(PIC2 + 1, TIMER_VECTOR + 8); out8(PIC2 + 1, 2); out8(PIC2 + 1, 1);
    out8(PIC1 + 1, 0xfe); /* IRQ 0 only */
    out8(PIC2 + 1, 0xff);
    out8(PIT + 3, 0x34); /* channel 0, both bytes, mode 2 */
    out8(PIT, (1193182 / TICKS_PER_SECOND) & 0xff);
    out8(PIT, (1193182 / TICKS_PER_SECOND) >> 8);
    *apic_register(0x350) = 0x700; /* LINT0: ExtINT, the 8259's way through the local APIC */
    *apic_register(0xf0) = 0x1ff;  /* software enable, spurious vector 0xff */
    __asm__ volatile("sti");
}

/* Waits for more ticks; false when none come for a long while. */
static int wait_ticks(u32 count)
{
    u32 start = ticks;
    for (u32 spin = 0; spin < 2000000000u; spin++) {
        if (ticks - start >= count)
            return 1;
        __asm__ volatile("pause");
    }
    return 0;
}

static void start_other_cpus(u32 cpus)
{
    for (u32 i = 0; i < (u32)(trampoline_end - trampoline); i++)
        ((volatile u8 *)TRAMPOLINE)[i] = trampoline[i];
    *apic_register(0x310) = 0;
    *apic_register(0x300) = 0x000c4500; /* INIT, all but self */
    check(20, wait_ticks(10), "no tick after INIT");
    *apic_register(0x300) = 0x000c4600 | (TRAMPOLINE >> 12);
    check(21, wait_ticks(2), "no tick after SIPI");
    *apic_register(0x300) = 0x000c4600 | (TRAMPOLINE >> 12); /* must not start them twice */
    for (u32 waited = 0; waited < 2000 && ap_count < cpus - 1; waited += 10)
        check(22, wait_ticks(10), "no tick while the CPUs start");
    wait_ticks(20); /* one too many would show now */
    put_value("other CPUs: ", ap_count);
    check(23, ap_count == cpus - 1, "not as many CPUs as expected");
    check(24, ap_rounds == (cpus - 1) * AP_ROUNDS, "locked increments were lost");
}

static void switch_apic(int back_on)
{
    u64 base = read_msr(IA32_APIC_BASE);
    u32 id = *apic_register(0x20);
    check(30, (base & APIC_GLOBAL_ENABLE) && (cpuid_features() & (1 << 9)), "the local APIC is not enabled at first");
    __asm__ volatile("cli");
    write_msr(IA32_APIC_BASE, base & ~(u64)APIC_GLOBAL_ENABLE);
    check(31, !(cpuid_features() & (1 << 9)), "CPUID still announces a disabled local APIC");
    __asm__ volatile("sti");
    check(32, wait_ticks(5), "the 8259 does not reach the CPU past a disabled local APIC");
    if (!back_on)
        return;
    __asm__ volatile("cli");
    write_msr(IA32_APIC_BASE, base);
    check(33, (cpuid_features() & (1 << 9)) && *apic_register(0x20) == id, "the local APIC does not come back");
    *apic_register(0x350) = 0x700;
    *apic_register(0xf0) = 0x1ff;
    __asm__ volatile("sti");
    check(34, wait_ticks(5), "no tick through the local APIC that came back");
}

static void print_memory(const struct boot_info *info)
{
    u32 available = 0;
    put_value("mem_lower KiB: ", info->mem_lower);
    put_value("mem_upper KiB: ", info->mem_upper);
    for (u32 at = info->mmap_addr; at < info->mmap_addr + info->mmap_length;) {
        const struct mmap_entry *entry = (const struct mmap_entry *)at;
        if (entry->type == 1)
            available += (u32)(entry->length >> 10);
        at += entry->size + 4;
    }
    put_value("available KiB: ", available);
}

static void print_module(const struct boot_info *info)
{
    const struct module *module = (const struct module *)info->mods_addr;
    u32 hash = 0x811c9dc5; /* FNV-1a */
    put_value("modules: ", info->mods_count);
    if (!info->mods_count)
        return;
    for (u32 at = module->start; at < module->end; at++)
        hash = (hash ^ *(const u8 *)at) * 0x01000193;
    put("module: ");
    put((const char *)module->string);
    put_value(" bytes: ", module->end - module->start);
    put("module hash: ");
    put_hex(hash);
    put("\n");
}

void kernel_main(u32 magic, const struct boot_info *info)
{
    out8(COM1 + 3, 0x80); out8(COM1, 1); out8(COM1 + 1, 0); out8(COM1 + 3, 3); out8(COM1 + 2, 7);
    put("smp-check: hello\n");
    check(1, magic == 0x2badb002, "EAX is not the multiboot magic");
    check(2, (info->flags & 0x45) == 0x45, "no memory, command line or memory map");
    const char *command_line = (const char *)info->cmdline;
    put("command line: ");
    put(command_line);
    put("\n");
    print_memory(info);
    print_module(info);
    const char *smp = find_word(command_line, "smp=");
    u32 cpus = smp ? 0 : 1;
    for (const char *digit = smp ? smp + 4 : ""; *digit >= '0' && *digit <= '9'; digit++)
        cpus = cpus * 10 + (u32)(*digit - '0');
    start_timer();
    check(10, wait_ticks(20), "the PIT does not tick through the 8259");
    start_other_cpus(cpus);
    switch_apic(!find_word(command_line, "keep-apic-off"));
    put_value("ticks: ", ticks > 50 ? 50 : ticks);
    leave(0);
}
