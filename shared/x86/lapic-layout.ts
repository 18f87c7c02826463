// Layout of one vCPU's local APIC in the arena (its "LAPIC page"): byte offsets from the page's start. Intel SDM
// vol. 3 ch. 11. The vCPU's own worker owns every word; other threads only set bits of IRR and TMR (interrupt-
// delivery.ts) and EXTINT_REQUEST, and read the words that decide whether a message is for this APIC. Everything is
// an i32 but the two deadlines.

/** 8 × u32: vectors requested, in service, and level-triggered. */
export const LAPIC_IRR = 0;
export const LAPIC_ISR = 32;
export const LAPIC_TMR = 64;
/** LAPIC_MODE_*: what IA32_APIC_BASE says, so that senders need not read the vCPU's state page. */
export const LAPIC_MODE = 96;
/** The x2APIC id (32 bits): the vCPU's index. Never changes. */
export const LAPIC_X2APIC_ID = 100;
/** The xAPIC id (8 bits, low): software may change it. */
export const LAPIC_XAPIC_ID = 104;
/** The logical destination register and the destination format register as xAPIC software wrote them. */
export const LAPIC_LDR = 108;
export const LAPIC_DFR = 112;
export const LAPIC_SVR = 116;
export const LAPIC_TPR = 120;
/** What ESR reads, and the errors gathered since the last write of it. */
export const LAPIC_ESR = 124;
export const LAPIC_ESR_LATCH = 128;
export const LAPIC_ICR_LOW = 132;
export const LAPIC_ICR_HIGH = 136;
/** 6 words in the order of their MMIO offsets: timer, thermal, performance, LINT0, LINT1, error. */
export const LAPIC_LVT = 140;
export const LAPIC_TIMER_DIVIDE = 164;
export const LAPIC_TIMER_INITIAL = 168;
/** 1: the IOAPIC sent an ExtINT message: the next interrupt is the 8259's. */
export const LAPIC_EXTINT_REQUEST = 172;
/** i64, host ns: when the timer fires; 0 is never. Written by the vCPU, read by the ticker. */
export const LAPIC_TIMER_DEADLINE = 176;
/** Two u32: IA32_TSC_DEADLINE as it was written. */
export const LAPIC_TSC_DEADLINE = 184;

export const LAPIC_PAGE_BYTES = 256;

export const LAPIC_MODE_DISABLED = 0;
export const LAPIC_MODE_XAPIC = 1;
export const LAPIC_MODE_X2APIC = 2;

// Indices into LAPIC_LVT.
export const LVT_TIMER = 0;
export const LVT_THERMAL = 1;
export const LVT_PERFORMANCE = 2;
export const LVT_LINT0 = 3;
export const LVT_LINT1 = 4;
export const LVT_ERROR = 5;
export const LVT_COUNT = 6;

// Delivery modes: bits 10:8 of an LVT entry, ICR, MSI data and IOAPIC entry. SDM vol. 3 §11.5.1, §11.6.1.
export const DELIVERY_FIXED = 0;
export const DELIVERY_LOWEST_PRIORITY = 1;
export const DELIVERY_SMI = 2;
export const DELIVERY_NMI = 4;
export const DELIVERY_INIT = 5;
export const DELIVERY_STARTUP = 6;
export const DELIVERY_EXTINT = 7;

/** SVR bit 8. */
export const SVR_APIC_ENABLED = 1 << 8;
/** LVT bit 16. */
export const LVT_MASKED = 1 << 16;
