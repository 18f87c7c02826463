// Model-specific registers: KVM_GET_MSRS and KVM_SET_MSRS ↔ the state page. What KVM does not have (some MTRRs under an
// old kernel) is left out; machine-check banks and what belongs to sregs are not here.

import type { Addon } from '#native/addon.js';
import * as S from '#shared/x86/cpu-state.js';
import * as M from '#shared/x86/msr-index.js';

const ENTRY_BYTES = 16;
const HEADER_BYTES = 8;
const SPEC_CTRL = 0x48;

/** MSRs that are 64 bits of the state page. The order is the one they are written in. */
const SLOTS: readonly (readonly [msr: number, slot: number])[] = [
  [M.IA32_STAR, S.STAR],
  [M.IA32_LSTAR, S.LSTAR],
  [M.IA32_CSTAR, S.CSTAR],
  [M.IA32_FMASK, S.FMASK],
  [M.IA32_KERNEL_GS_BASE, S.KERNEL_GS_BASE],
  [M.IA32_SYSENTER_CS, S.SYSENTER_CS],
  [M.IA32_SYSENTER_ESP, S.SYSENTER_ESP],
  [M.IA32_SYSENTER_EIP, S.SYSENTER_EIP],
  [M.IA32_TSC_AUX, S.TSC_AUX],
  [M.IA32_PAT, S.PAT],
  [M.IA32_MISC_ENABLE, S.MISC_ENABLE],
  [SPEC_CTRL, S.SPEC_CTRL],
  [M.IA32_TSC_ADJUST, S.TSC_ADJUST],
  [M.IA32_MTRR_DEF_TYPE, S.MTRR_DEF_TYPE],
  ...[M.IA32_MTRR_FIX64K_00000, M.IA32_MTRR_FIX16K_80000, M.IA32_MTRR_FIX16K_A0000].map(
    (msr, i) => [msr, S.MTRR_FIXED + i * 8] as const,
  ),
  ...Array.from({ length: 8 }, (_, i) => [M.IA32_MTRR_FIX4K_C0000 + i, S.MTRR_FIXED + 24 + i * 8] as const),
  ...Array.from(
    { length: 2 * M.MTRR_VARIABLE_COUNT },
    (_, i) => [M.IA32_MTRR_PHYSBASE0 + i, S.MTRR_VARIABLE + i * 8] as const,
  ),
  [M.MSR_KVM_WALL_CLOCK_NEW, S.KVM_WALL_CLOCK],
  [M.MSR_KVM_SYSTEM_TIME_NEW, S.KVM_SYSTEM_TIME],
];

/** One vCPU's MSRs by number. */
export class MsrPort {
  readonly #addon: Addon;
  readonly #fd: number;
  readonly #one = new DataView(new ArrayBuffer(HEADER_BYTES + ENTRY_BYTES));
  /** Those of {@link SLOTS} that KVM has here; found at the first use. */
  #known: (readonly [msr: number, slot: number])[] | undefined;

  constructor(addon: Addon, fd: number) {
    this.#addon = addon;
    this.#fd = fd;
  }

  /** undefined when KVM does not have it. */
  read(msr: number): bigint | undefined {
    const list = this.#one;
    list.setUint32(0, 1, true);
    list.setUint32(HEADER_BYTES, msr, true);
    const count = this.#addon.getState(this.#fd, 'msrs', new Uint8Array(list.buffer));
    return count === 1 ? list.getBigUint64(HEADER_BYTES + 8, true) : undefined;
  }

  /** False when KVM does not have it or refuses the value. */
  write(msr: number, value: bigint): boolean {
    const list = this.#one;
    list.setUint32(0, 1, true);
    list.setUint32(HEADER_BYTES, msr, true);
    list.setBigUint64(HEADER_BYTES + 8, BigInt.asUintN(64, value), true);
    return this.#addon.setState(this.#fd, 'msrs', new Uint8Array(list.buffer)) === 1;
  }

  /** Writes all of the page's MSRs; those that KVM refuses are left as they are. */
  fromPage(page: DataView): void {
    for (const [msr, slot] of this.#slots()) this.write(msr, page.getBigUint64(slot, true));
  }

  toPage(page: DataView): void {
    const slots = this.#slots();
    const list = new DataView(new ArrayBuffer(HEADER_BYTES + slots.length * ENTRY_BYTES));
    list.setUint32(0, slots.length, true);
    slots.forEach(([msr], i) => list.setUint32(HEADER_BYTES + i * ENTRY_BYTES, msr, true));
    this.#addon.getState(this.#fd, 'msrs', new Uint8Array(list.buffer));
    slots.forEach(([, slot], i) =>
      page.setBigUint64(slot, list.getBigUint64(HEADER_BYTES + i * ENTRY_BYTES + 8, true), true),
    );
  }

  #slots(): readonly (readonly [msr: number, slot: number])[] {
    this.#known ??= SLOTS.filter(([msr]) => this.read(msr) !== undefined);
    return this.#known;
  }
}
