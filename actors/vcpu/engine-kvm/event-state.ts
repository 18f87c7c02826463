// Events between two instructions, and whether the vCPU runs: struct kvm_vcpu_events and kvm_mp_state ↔ the state page.
// An exception that KVM holds for delivery is a fault of the instruction at RIP, or a trap of its own (INT3, INTO): it is
// dropped on the way out, since the instruction runs again wherever the state goes and raises it again. An interrupt that
// was acknowledged and not delivered goes back to the LAPIC (lapic-state.ts).

import * as K from '#native/kvm-constants.js';
import * as S from '#shared/x86/cpu-state.js';

// struct kvm_vcpu_events.
const EVENTS_EXCEPTION_INJECTED = 0;
const EVENTS_EXCEPTION_PENDING = 3;
const EVENTS_INTERRUPT_INJECTED = 8;
const EVENTS_INTERRUPT_NUMBER = 9;
const EVENTS_INTERRUPT_SOFT = 10;
const EVENTS_INTERRUPT_SHADOW = 11;
const EVENTS_NMI_INJECTED = 12;
const EVENTS_NMI_PENDING = 13;
const EVENTS_NMI_MASKED = 14;
const EVENTS_FLAGS = 20;
const VALID_NMI_PENDING = 1;
const VALID_SHADOW = 4;
const SHADOW_MOV_SS = 1;
const SHADOW_STI = 2;

/** Pending work of the state page that KVM keeps in its own words. */
const NMIS = S.PENDING_NMI | S.PENDING_NMI_AGAIN;

/** `pending`: the PENDING word, read and cleared of NMIs by the caller. */
export function eventsFromPage(page: DataView, pending: number, events: DataView): void {
  const shadow = page.getInt32(S.INTERRUPT_SHADOW, true);
  const nmi = page.getInt32(S.NMI_STATE, true);
  const kvmShadow = shadow === S.SHADOW_SS ? SHADOW_MOV_SS : shadow === S.SHADOW_STI ? SHADOW_STI : 0;
  events.setUint8(EVENTS_INTERRUPT_SHADOW, kvmShadow);
  events.setUint8(EVENTS_NMI_PENDING, (nmi & S.NMI_KEPT) !== 0 || (pending & NMIS) !== 0 ? 1 : 0);
  events.setUint8(EVENTS_NMI_MASKED, (nmi & S.NMI_BLOCKED) !== 0 ? 1 : 0);
  events.setUint32(EVENTS_FLAGS, VALID_NMI_PENDING | VALID_SHADOW, true);
}

/** The PENDING bits that the page needs beside what is written to it. */
export function eventsToPage(events: DataView, page: DataView): number {
  const shadow = events.getUint8(EVENTS_INTERRUPT_SHADOW);
  const pageShadow =
    (shadow & SHADOW_MOV_SS) !== 0 ? S.SHADOW_SS : shadow !== 0 ? S.SHADOW_STI : S.SHADOW_NONE;
  page.setInt32(S.INTERRUPT_SHADOW, pageShadow, true);
  const masked = events.getUint8(EVENTS_NMI_MASKED) !== 0;
  const injected = events.getUint8(EVENTS_NMI_INJECTED) !== 0;
  const waiting = events.getUint8(EVENTS_NMI_PENDING) !== 0;
  // One that was to be injected has not begun: it comes again, and only its own delivery masks.
  const blocked = masked && !injected;
  page.setInt32(S.NMI_STATE, (blocked ? S.NMI_BLOCKED : 0) | (blocked && waiting ? S.NMI_KEPT : 0), true);
  return !blocked && (waiting || injected) ? S.PENDING_NMI : 0;
}

/** The vector of an external interrupt that was acknowledged and not delivered, or −1. */
export function undeliveredVector(events: DataView): number {
  if (events.getUint8(EVENTS_INTERRUPT_INJECTED) === 0 || events.getUint8(EVENTS_INTERRUPT_SOFT) !== 0)
    return -1;
  return events.getUint8(EVENTS_INTERRUPT_NUMBER);
}

/** Whether something is on its way into the guest already. */
export function holdsEvent(events: DataView): boolean {
  const places = [
    EVENTS_EXCEPTION_INJECTED,
    EVENTS_EXCEPTION_PENDING,
    EVENTS_INTERRUPT_INJECTED,
    EVENTS_NMI_INJECTED,
  ];
  return places.some((at) => events.getUint8(at) !== 0);
}

/** An external interrupt on its way into the guest; −1: none. */
export function setUndeliveredVector(events: DataView, vector: number): void {
  events.setUint8(EVENTS_INTERRUPT_INJECTED, vector < 0 ? 0 : 1);
  events.setUint8(EVENTS_INTERRUPT_NUMBER, vector < 0 ? 0 : vector);
  events.setUint8(EVENTS_INTERRUPT_SOFT, 0);
}

export function activityToMpState(activity: number): number {
  if (activity === S.ACTIVITY_HALTED) return K.KVM_MP_STATE_HALTED;
  return activity === S.ACTIVITY_WAIT_FOR_SIPI ? K.KVM_MP_STATE_INIT_RECEIVED : K.KVM_MP_STATE_RUNNABLE;
}

export function mpStateToActivity(mpState: number): number {
  if (mpState === K.KVM_MP_STATE_HALTED) return S.ACTIVITY_HALTED;
  const waits = mpState === K.KVM_MP_STATE_UNINITIALIZED || mpState === K.KVM_MP_STATE_INIT_RECEIVED;
  return waits ? S.ACTIVITY_WAIT_FOR_SIPI : S.ACTIVITY_RUNNING;
}
