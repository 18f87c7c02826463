// Puts a bare engine's vCPU into one of the processor's modes, with flat segments, a GDT, a TSS and stacks at known places.
// Paging is off, or identity-mapped with 2 MiB pages in IA-32e mode.

import * as S from '#shared/x86/cpu-state.js';
import type { BareEngine } from './bare-engine.js';

export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
export const PAGE_TABLES = 0x4000;
export const KERNEL_STACK = 0x9000;
export const IST_STACK = 0xa000;
export const CURRENT_STACK = 0xb000;
export const CODE = 0x10000;
export const DATA = 0x20000;

// Selectors.
export const KERNEL_CODE64 = 0x08;
export const KERNEL_DATA = 0x10;
export const KERNEL_CODE32 = 0x18;
export const USER_CODE32 = 0x23;
export const USER_DATA = 0x2b;
export const USER_CODE64 = 0x33;
export const KERNEL_CODE16 = 0x38;
/** Free for tests, up to 0x78. */
export const SPARE = 0x40;
const TSS_SELECTOR = 0x78;

const TABLE: readonly bigint[] = [
  0n,
  0x00af_9b00_0000_ffffn,
  0x00cf_9300_0000_ffffn,
  0x00cf_9b00_0000_ffffn,
  0x00cf_fb00_0000_ffffn,
  0x00cf_f300_0000_ffffn,
  0x00af_fb00_0000_ffffn,
  0x0000_9b00_0000_ffffn,
];

export function setSlot(e: BareEngine, slot: number, value: bigint | number): void {
  e.state.setBigUint64(slot, BigInt.asUintN(64, BigInt(value)), true);
}

export function getSlot(e: BareEngine, slot: number): bigint {
  return e.state.getBigUint64(slot, true);
}

export function setDescriptor(e: BareEngine, selector: number, descriptor: bigint): void {
  e.ramView.setBigUint64(GDT + (selector & ~7), descriptor, true);
}

function reset(e: BareEngine): void {
  e.ram.fill(0, 0, 0x30000);
  e.reset.powerOn(0);
  TABLE.forEach((descriptor, i) => setDescriptor(e, i * 8, descriptor));
  setSlot(e, S.GDTR_BASE, GDT);
  e.state.setInt32(S.GDTR_LIMIT, 0x8f, true);
  setSlot(e, S.IDTR_BASE, IDT);
  e.state.setInt32(S.IDTR_LIMIT, 0xfff, true);
  setSlot(e, S.RIP, CODE);
  setSlot(e, S.RSP, CURRENT_STACK);
}

function setData(e: BareEngine, selector: number, attributes: number): void {
  for (const s of [S.DS, S.ES, S.SS, S.FS, S.GS]) e.reset.setSegment(s, selector, 0, 0xffff_ffff, attributes);
}

export function enterLongMode(e: BareEngine, cpl: 0 | 3): void {
  reset(e);
  const view = e.ramView;
  view.setBigUint64(PAGE_TABLES, BigInt(PAGE_TABLES + 0x1000) | 7n, true);
  view.setBigUint64(PAGE_TABLES + 0x1000, BigInt(PAGE_TABLES + 0x2000) | 7n, true);
  for (let i = 0; i < 8; i++)
    view.setBigUint64(PAGE_TABLES + 0x2000 + i * 8, BigInt(i * 0x20_0000) | 0x87n, true);
  setSlot(e, S.CR0, 0x8001_0033);
  setSlot(e, S.CR3, PAGE_TABLES);
  setSlot(e, S.CR4, 0x620);
  setSlot(e, S.EFER, 0xd01);
  const user = cpl === 3;
  e.reset.setSegment(S.CS, user ? USER_CODE64 : KERNEL_CODE64, 0, 0xffff_ffff, user ? 0xafb : 0xa9b);
  setData(e, user ? USER_DATA : KERNEL_DATA, user ? 0xcf3 : 0xc93);
  e.reset.setSegment(S.TR, TSS_SELECTOR, TSS, 0x67, 0x8b);
  view.setBigUint64(TSS + 4, BigInt(KERNEL_STACK), true);
  view.setBigUint64(TSS + 36, BigInt(IST_STACK), true);
  e.state.setInt32(S.CPL, cpl, true);
  finish(e);
}

/** 32-bit protected mode without paging. */
export function enterProtectedMode(e: BareEngine, cpl: 0 | 3): void {
  reset(e);
  setSlot(e, S.CR0, 0x33);
  const user = cpl === 3;
  e.reset.setSegment(S.CS, user ? USER_CODE32 : KERNEL_CODE32, 0, 0xffff_ffff, user ? 0xcfb : 0xc9b);
  setData(e, user ? USER_DATA : KERNEL_DATA, user ? 0xcf3 : 0xc93);
  e.reset.setSegment(S.TR, TSS_SELECTOR, TSS, 0x67, 0x8b);
  e.ramView.setUint32(TSS + 4, KERNEL_STACK, true);
  e.ramView.setUint32(TSS + 8, KERNEL_DATA, true);
  e.state.setInt32(S.CPL, cpl, true);
  finish(e);
}

export function enterRealMode(e: BareEngine): void {
  reset(e);
  setSlot(e, S.CR0, 0x10);
  e.reset.setSegment(S.CS, CODE >> 4, CODE, 0xffff, 0x9b);
  for (const s of [S.DS, S.ES, S.SS, S.FS, S.GS]) e.reset.setSegment(s, 0, 0, 0xffff, 0x93);
  setSlot(e, S.IDTR_BASE, 0);
  e.state.setInt32(S.IDTR_LIMIT, 0x3ff, true);
  setSlot(e, S.RIP, 0x100);
  finish(e);
}

function finish(e: BareEngine): void {
  e.state.setInt32(S.ACTIVITY, S.ACTIVITY_RUNNING, true);
  e.cpu.flushTlb(true);
  e.cpu.modeChanged();
}

/** A gate of the IDT: 16 bytes in IA-32e mode, 8 otherwise. `type` is descriptor byte 5: P, DPL and type. */
export function setGate(
  e: BareEngine,
  vector: number,
  selector: number,
  offset: number,
  type: number,
  ist = 0,
): void {
  const long = (e.state.getInt32(S.EFER, true) & 0x400) !== 0;
  const at = IDT + vector * (long ? 16 : 8);
  e.ramView.setUint32(at, (selector << 16) | (offset & 0xffff), true);
  e.ramView.setUint32(at + 4, (offset & 0xffff_0000) | (type << 8) | ist, true);
}

/** Places code at RIP and runs until the vCPU halts (or shuts down). */
export function runCode(e: BareEngine, bytes: readonly number[]): string {
  const real = (e.state.getInt32(S.CR0, true) & 1) === 0;
  const at = Number(getSlot(e, S.RIP)) + (real ? CODE : 0);
  e.ram.set(bytes, at);
  e.blocks.dropAll();
  return e.engine.run();
}
