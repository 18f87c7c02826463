// The register file of a local APIC: numbers (the MMIO offset >> 4, which is also the x2APIC MSR − 0x800), writable bits, and
// what x2APIC mode refuses. Intel SDM vol. 3 tables 11-1 and 11-6.

/** LVT 0x14, 6 entries. */
export const VERSION = 0x0005_0014;
export const APIC_BASE_BSP = 1 << 8;
export const APIC_BASE_EXTD = 1 << 10;
export const APIC_BASE_EN = 1 << 11;
export const APIC_BASE_RESET = 0xfee0_0000;
/** Physical address bits above 32: MAXPHYADDR is 40. */
export const APIC_BASE_HIGH_MASK = 0xff;

// ESR bits.
export const ESR_SEND_ILLEGAL_VECTOR = 1 << 5;
export const ESR_ILLEGAL_REGISTER = 1 << 7;

/** Writable bits of the LVT entries, in LVT order. */
export const LVT_WRITABLE = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];

// Register numbers: the MMIO offset >> 4, and the MSR − 0x800.
export const R_ID = 0x02;
export const R_VERSION = 0x03;
export const R_TPR = 0x08;
export const R_APR = 0x09;
export const R_PPR = 0x0a;
export const R_EOI = 0x0b;
export const R_RRD = 0x0c;
export const R_LDR = 0x0d;
export const R_DFR = 0x0e;
export const R_SVR = 0x0f;
export const R_ISR = 0x10;
export const R_TMR = 0x18;
export const R_IRR = 0x20;
export const R_ESR = 0x28;
export const R_ICR = 0x30;
export const R_ICR_HIGH = 0x31;
export const R_LVT_TIMER = 0x32;
export const R_LVT_ERROR = 0x37;
export const R_TIMER_INITIAL = 0x38;
export const R_TIMER_CURRENT = 0x39;
export const R_TIMER_DIVIDE = 0x3e;
export const R_SELF_IPI = 0x3f;

/** Registers that exist, whatever may be done with them. */
export function isRegister(register: number): boolean {
  if (register >= R_ISR && register <= R_ESR) return true;
  if (register >= R_ICR && register <= R_TIMER_CURRENT) return true;
  if (register === R_ID || register === R_VERSION) return true;
  return (register >= R_TPR && register <= R_SVR) || register === R_TIMER_DIVIDE || register === R_SELF_IPI;
}

/** Whether x2APIC mode lets `lo` be written: the register is writable and no reserved bit is set. */
export function isX2apicValue(register: number, lo: number): boolean {
  if (register >= R_LVT_TIMER && register <= R_LVT_ERROR) {
    // Delivery status and remote IRR are read-only, not reserved.
    return (lo & ~(LVT_WRITABLE[register - R_LVT_TIMER]! | 0x5000)) === 0;
  }
  switch (register) {
    case R_TPR:
    case R_SELF_IPI:
      return (lo & ~0xff) === 0;
    case R_EOI:
    case R_ESR:
      return lo === 0;
    case R_SVR:
      return (lo & ~0x3ff) === 0;
    case R_TIMER_INITIAL:
      return true;
    case R_TIMER_DIVIDE:
      return (lo & ~0xb) === 0;
    default:
      return false;
  }
}
