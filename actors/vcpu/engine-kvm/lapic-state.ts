// The local APIC: KVM's register page (struct kvm_lapic_state: the xAPIC's MMIO registers) ↔ the LAPIC page of the arena.
// Intel SDM vol. 3 ch. 11. The timer crosses as what is left of its count; its clock is 1 GHz on both sides.

import * as L from '#shared/x86/lapic-layout.js';
import * as R from '#shared/x86/lapic-registers.js';

const LVT_TIMER_MODE = 3 << 17;
const TIMER_TSC_DEADLINE = 2 << 17;
const APIC_LVT_COUNT = L.LVT_COUNT;
/** Eight words of 32 vectors, 16 bytes apart. */
const VECTOR_WORDS = 8;

const at = (register: number): number => register << 4;

/** What the timer needs beyond the registers. */
export interface TimerTime {
  readonly nowNs: number;
}

/** SDM figure 11-10. */
function divisor(divide: number): number {
  return 1 << ((((divide & 3) | ((divide >> 1) & 4)) + 1) & 7);
}

const SIMPLE: readonly (readonly [register: number, slot: number])[] = [
  [R.R_TPR, L.LAPIC_TPR],
  [R.R_LDR, L.LAPIC_LDR],
  [R.R_DFR, L.LAPIC_DFR],
  [R.R_SVR, L.LAPIC_SVR],
  [R.R_ESR, L.LAPIC_ESR],
  [R.R_ICR, L.LAPIC_ICR_LOW],
  [R.R_ICR_HIGH, L.LAPIC_ICR_HIGH],
  [R.R_TIMER_INITIAL, L.LAPIC_TIMER_INITIAL],
  [R.R_TIMER_DIVIDE, L.LAPIC_TIMER_DIVIDE],
];
const VECTORS: readonly (readonly [register: number, slot: number])[] = [
  [R.R_ISR, L.LAPIC_ISR],
  [R.R_TMR, L.LAPIC_TMR],
  [R.R_IRR, L.LAPIC_IRR],
];

export function lapicFromPage(page: DataView, { nowNs }: TimerTime, registers: DataView): void {
  const x2apic = page.getInt32(L.LAPIC_MODE, true) === L.LAPIC_MODE_X2APIC;
  const id = page.getUint32(x2apic ? L.LAPIC_X2APIC_ID : L.LAPIC_XAPIC_ID, true);
  // Without KVM_CAP_X2APIC_API the id stands in the high byte in both modes.
  registers.setUint32(at(R.R_ID), id << 24, true);
  registers.setUint32(at(R.R_VERSION), R.VERSION, true);
  for (const [register, slot] of SIMPLE) registers.setUint32(at(register), page.getUint32(slot, true), true);
  for (const [register, slot] of VECTORS)
    for (let word = 0; word < VECTOR_WORDS; word++)
      registers.setUint32(at(register + word), page.getUint32(slot + word * 4, true), true);
  for (let entry = 0; entry < APIC_LVT_COUNT; entry++)
    registers.setUint32(at(R.R_LVT_TIMER + entry), page.getUint32(L.LAPIC_LVT + entry * 4, true), true);
  const deadlineNs = Number(page.getBigInt64(L.LAPIC_TIMER_DEADLINE, true));
  const byTsc = (page.getUint32(L.LAPIC_LVT, true) & LVT_TIMER_MODE) === TIMER_TSC_DEADLINE;
  const divide = divisor(page.getUint32(L.LAPIC_TIMER_DIVIDE, true));
  const initial = page.getUint32(L.LAPIC_TIMER_INITIAL, true);
  const left = deadlineNs === 0 || byTsc ? 0 : Math.max(1, Math.ceil((deadlineNs - nowNs) / divide));
  registers.setUint32(at(R.R_TIMER_CURRENT), Math.min(left, initial), true);
  // A one-shot count that ran out must not start again.
  if (left === 0 && !byTsc) registers.setUint32(at(R.R_TIMER_INITIAL), 0, true);
}

/** `mode`: LAPIC_MODE_*, of IA32_APIC_BASE. `tscDeadline`: the MSR, and host ns when it is due (0: never). */
export function lapicToPage(
  registers: DataView,
  mode: number,
  { nowNs }: TimerTime,
  tscDeadline: { readonly value: bigint; readonly dueNs: number },
  page: DataView,
): void {
  page.setInt32(L.LAPIC_MODE, mode, true);
  page.setUint32(L.LAPIC_XAPIC_ID, registers.getUint32(at(R.R_ID), true) >>> 24, true);
  for (const [register, slot] of SIMPLE) page.setUint32(slot, registers.getUint32(at(register), true), true);
  for (const [register, slot] of VECTORS)
    for (let word = 0; word < VECTOR_WORDS; word++)
      page.setUint32(slot + word * 4, registers.getUint32(at(register + word), true), true);
  for (let entry = 0; entry < APIC_LVT_COUNT; entry++)
    page.setUint32(L.LAPIC_LVT + entry * 4, registers.getUint32(at(R.R_LVT_TIMER + entry), true), true);
  page.setUint32(L.LAPIC_ESR_LATCH, 0, true);
  page.setUint32(L.LAPIC_EXTINT_REQUEST, 0, true);
  const byTsc = (page.getUint32(L.LAPIC_LVT, true) & LVT_TIMER_MODE) === TIMER_TSC_DEADLINE;
  const left = registers.getUint32(at(R.R_TIMER_CURRENT), true);
  const divide = divisor(page.getUint32(L.LAPIC_TIMER_DIVIDE, true));
  const counts = registers.getUint32(at(R.R_TIMER_INITIAL), true) !== 0 && left !== 0;
  const dueNs = byTsc ? tscDeadline.dueNs : counts ? nowNs + left * divide : 0;
  page.setBigInt64(L.LAPIC_TIMER_DEADLINE, BigInt(Math.ceil(dueNs)), true);
  page.setBigUint64(L.LAPIC_TSC_DEADLINE, byTsc ? tscDeadline.value : 0n, true);
}

/** An interrupt that was acknowledged and not delivered: from ISR back to IRR. */
export function returnVector(page: DataView, vector: number): void {
  const word = (vector >> 5) * 4;
  const bit = 1 << (vector & 31);
  page.setInt32(L.LAPIC_ISR + word, page.getInt32(L.LAPIC_ISR + word, true) & ~bit, true);
  page.setInt32(L.LAPIC_IRR + word, page.getInt32(L.LAPIC_IRR + word, true) | bit, true);
}

/** Of KVM's registers: whether the LAPIC has this vector in service. */
export function isInService(registers: DataView, vector: number): boolean {
  return ((registers.getUint32(at(R.R_ISR + (vector >> 5)), true) >>> (vector & 31)) & 1) !== 0;
}

export function apicMode(apicBase: bigint): number {
  if ((apicBase & BigInt(R.APIC_BASE_EN)) === 0n) return L.LAPIC_MODE_DISABLED;
  return (apicBase & BigInt(R.APIC_BASE_EXTD)) === 0n ? L.LAPIC_MODE_XAPIC : L.LAPIC_MODE_X2APIC;
}
