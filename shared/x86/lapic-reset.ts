// A local APIC's state at power-on and after INIT, and IA32_APIC_BASE's place. Intel SDM vol. 3 §11.4.7. Apart from the class
// Lapic because the kernel runs it for all vCPUs before their workers live: an IPI to one that is still coming up
// must find a LAPIC.

import {
  APIC_BASE,
  PENDING_INIT,
  PENDING_INTERRUPT,
  PENDING_NMI,
  PENDING_NMI_AGAIN,
  PENDING_SIPI,
  PENDING_TIMER,
} from '#shared/x86/cpu-state.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import * as L from '#shared/x86/lapic-layout.js';
import { APIC_BASE_BSP, APIC_BASE_EN, APIC_BASE_EXTD, APIC_BASE_RESET } from '#shared/x86/lapic-registers.js';

/** PENDING bits that come from LAPICs. */
const MESSAGES =
  PENDING_INTERRUPT | PENDING_NMI | PENDING_NMI_AGAIN | PENDING_INIT | PENDING_SIPI | PENDING_TIMER;

/**
 * Power-on: vCPU 0 is the bootstrap processor, its LAPIC as firmware leaves it: software-enabled, LINT0 and LINT1 in virtual
 * wire mode (MultiProcessor Specification 1.4 §3.6.2.1). A kernel that writes LVT0 before SVR relies on it: the writes
 * of a software-disabled LAPIC cannot clear mask bits.
 */
export function resetLapicPage(fabric: InterruptFabric, vcpu: number): void {
  const bsp = vcpu === 0 ? APIC_BASE_BSP : 0;
  storeApicBase(fabric, vcpu, APIC_BASE_RESET | APIC_BASE_EN | bsp, 0);
  store(fabric, vcpu, L.LAPIC_X2APIC_ID, vcpu);
  store(fabric, vcpu, L.LAPIC_XAPIC_ID, vcpu & 0xff);
  resetLapicRegisters(fabric, vcpu);
  Atomics.and(fabric.words, fabric.pending[vcpu]!, ~MESSAGES);
  if (vcpu !== 0) return;
  store(fabric, vcpu, L.LAPIC_SVR, L.SVR_APIC_ENABLED | 0xff);
  store(fabric, vcpu, L.LAPIC_LVT + L.LVT_LINT0 * 4, L.DELIVERY_EXTINT << 8);
  store(fabric, vcpu, L.LAPIC_LVT + L.LVT_LINT1 * 4, L.DELIVERY_NMI << 8);
}

/** INIT: all registers but APIC_BASE, the mode and the ids. */
export function resetLapicRegisters(fabric: InterruptFabric, vcpu: number): void {
  for (let offset = 0; offset < L.LAPIC_MODE; offset += 4) store(fabric, vcpu, offset, 0); // IRR, ISR, TMR
  for (let offset = L.LAPIC_LDR; offset < L.LAPIC_PAGE_BYTES; offset += 4) store(fabric, vcpu, offset, 0);
  store(fabric, vcpu, L.LAPIC_DFR, -1);
  store(fabric, vcpu, L.LAPIC_SVR, 0xff);
  for (let i = 0; i < L.LVT_COUNT; i++) store(fabric, vcpu, L.LAPIC_LVT + i * 4, L.LVT_MASKED);
}

/** Sets IA32_APIC_BASE in the state page, and the mode that senders see. */
export function storeApicBase(fabric: InterruptFabric, vcpu: number, lo: number, hi: number): void {
  const word = fabric.state[vcpu]! + (APIC_BASE >> 2);
  fabric.words[word] = lo;
  fabric.words[word + 1] = hi;
  const enabledMode = (lo & APIC_BASE_EXTD) !== 0 ? L.LAPIC_MODE_X2APIC : L.LAPIC_MODE_XAPIC;
  store(fabric, vcpu, L.LAPIC_MODE, (lo & APIC_BASE_EN) !== 0 ? enabledMode : L.LAPIC_MODE_DISABLED);
}

/** The host kernel keeps the LAPIC: the page answers no access of the guest's. */
export function detachLapicPage(fabric: InterruptFabric, vcpu: number): void {
  store(fabric, vcpu, L.LAPIC_MODE, L.LAPIC_MODE_DISABLED);
}

function store(fabric: InterruptFabric, vcpu: number, offset: number, value: number): void {
  Atomics.store(fabric.words, fabric.lapic[vcpu]! + (offset >> 2), value | 0);
}
