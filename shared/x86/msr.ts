// RDMSR and WRMSR over one vCPU's state page. Intel SDM vol. 4 and vol. 3 §2.2 (EFER), §12.11 (MTRRs: stored, not obeyed),
// §12.12 (PAT). An MSR that is not here, a reserved bit or a non-canonical address is #GP. A 64-bit value is two u32.
// Leaves out performance counters, LBR, SPEC_CTRL and everything else that CPUID does not announce.

import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { CHIPSET_BOOT_NS } from '#shared/chipset/page-layout.js';
import { PHYSICAL_ADDRESS_BITS } from '#shared/x86/cpuid.js';
import * as S from '#shared/x86/cpu-state.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import type { Lapic } from '#shared/x86/lapic.js';
import * as M from '#shared/x86/msr-index.js';
import { writePvclock, writeWallClock } from '#shared/x86/pvclock.js';

/** What WRMSR did. */
export const MSR_GP = 0;
export const MSR_OK = 1;
/** EFER or the LAPIC's page changed: the engine computes its mode again and drops its TLB. */
export const MSR_OK_MODE = 2;
export type MsrWriteResult = typeof MSR_GP | typeof MSR_OK | typeof MSR_OK_MODE;

export interface MsrHooks {
  /** Host monotonic ns. */
  nowNs(): number;
  /** Host UTC, ns since 1970. */
  wallNs(): number;
}

const TWO_32 = 0x1_0000_0000;
const PHYSICAL_HIGH_MASK = 2 ** (PHYSICAL_ADDRESS_BITS - 32) - 1;
const CR0_PG_BIT = 31;

/** MSRs that are nothing but 64 bits in the state page. */
const PLAIN = new Map<number, number>([
  [M.IA32_STAR, S.STAR],
  [M.IA32_SYSENTER_CS, S.SYSENTER_CS],
]);
/** The same, with a canonical linear address in it. */
const CANONICAL = new Map<number, number>([
  [M.IA32_SYSENTER_ESP, S.SYSENTER_ESP],
  [M.IA32_SYSENTER_EIP, S.SYSENTER_EIP],
  [M.IA32_LSTAR, S.LSTAR],
  [M.IA32_CSTAR, S.CSTAR],
  [M.IA32_FS_BASE, S.SEGMENT + S.FS * S.SEGMENT_BYTES + S.SEGMENT_BASE],
  [M.IA32_GS_BASE, S.SEGMENT + S.GS * S.SEGMENT_BYTES + S.SEGMENT_BASE],
  [M.IA32_KERNEL_GS_BASE, S.KERNEL_GS_BASE],
]);

/** Values that never change; writes of them are #GP but where {@link MsrFile.write} says otherwise. */
const CONSTANT = new Map<number, readonly [lo: number, hi: number]>([
  [M.IA32_PLATFORM_ID, [0, 0]],
  [M.IA32_FEATURE_CONTROL, [1, 0]], // locked, no VMX
  [M.IA32_BIOS_SIGN_ID, [0, 1]],
  [M.MSR_PLATFORM_INFO, [10 << 8, 0]], // 10 × 100 MHz
  [M.IA32_MTRRCAP, [M.MTRR_VARIABLE_COUNT | (1 << 8) | (1 << 10), 0]],
  [M.IA32_ARCH_CAPABILITIES, [M.ARCH_CAPABILITIES_LOW, M.ARCH_CAPABILITIES_HIGH]],
  [M.IA32_MCG_CAP, [M.MCE_BANK_COUNT, 0]],
  [M.IA32_MCG_STATUS, [0, 0]],
  [M.IA32_DEBUGCTL, [0, 0]],
]);

/** One vCPU's MSRs. Runs in its worker. */
export class MsrFile {
  /** The value that {@link read} found, u32 each. */
  lo = 0;
  hi = 0;
  readonly #words: Int32Array;
  readonly #state: number;
  readonly #lapic: Lapic;
  readonly #ram: GuestMemory;
  readonly #hooks: MsrHooks;
  readonly #bootNs: Float64Array;

  constructor(fabric: InterruptFabric, vcpuIndex: number, lapic: Lapic, ram: GuestMemory, hooks: MsrHooks) {
    this.#words = fabric.words;
    this.#state = fabric.state[vcpuIndex]!;
    this.#lapic = lapic;
    this.#ram = ram;
    this.#hooks = hooks;
    this.#bootNs = new Float64Array(fabric.words.buffer, fabric.chipset * 4 + CHIPSET_BOOT_NS, 1);
  }

  /** Power-on values of what lives in the state page; APIC_BASE is the Lapic's. */
  reset(): void {
    for (const slot of [...PLAIN.values(), ...CANONICAL.values(), S.FMASK, S.EFER, S.TSC_AUX])
      this.#set(slot, 0, 0);
    for (const slot of [S.TSC_ADJUST, S.KVM_SYSTEM_TIME, S.KVM_WALL_CLOCK]) this.#set(slot, 0, 0);
    this.#set(S.PAT, 0x0007_0406, 0x0007_0406);
    this.#set(S.MISC_ENABLE, 1, 0); // fast strings
    const offset = -Math.floor(this.#bootNs[0]!);
    this.#set(S.TSC_OFFSET, offset, Math.floor(offset / TWO_32));
    for (let bank = 0; bank < M.MCE_BANK_COUNT; bank++) this.#set(S.MCE_BANKS + bank * 32, -1, -1);
    this.#resetMtrrs();
  }

  /** RDMSR: the value in {@link lo} and {@link hi}; false is #GP. */
  read(index: number): boolean {
    const slot =
      PLAIN.get(index) ??
      CANONICAL.get(index) ??
      mtrrSlot(index) ??
      wordSlot(index) ??
      machineCheckSlot(index);
    if (slot !== undefined)
      return this.#give(this.#words[this.#word(slot)]!, this.#words[this.#word(slot) + 1]!);
    const constant = CONSTANT.get(index);
    if (constant !== undefined) return this.#give(constant[0], constant[1]);
    if (index >= M.IA32_X2APIC_FIRST && index <= M.IA32_X2APIC_LAST) {
      if (!this.#lapic.msrRead(index)) return false;
      return this.#give(this.#lapic.lo, this.#lapic.hi);
    }
    if (index === M.IA32_TIME_STAMP_COUNTER) return this.readTsc();
    if (index === M.IA32_TSC_DEADLINE) {
      const { timer } = this.#lapic;
      return this.#give(timer.readTscDeadlineLow(), timer.readTscDeadlineHigh());
    }
    return false;
  }

  /** RDTSC: the counter in {@link lo} and {@link hi}. Without a bigint: guests read it all the time. */
  readTsc(): true {
    const now = this.#hooks.nowNs();
    const word = this.#word(S.TSC_OFFSET);
    // No % of doubles: that is a call of fmod.
    const nowHigh = Math.floor(now / TWO_32);
    const low = Math.floor(now - nowHigh * TWO_32) + (this.#words[word]! >>> 0);
    const carry = low >= TWO_32 ? 1 : 0;
    return this.#give(low - carry * TWO_32, nowHigh + this.#words[word + 1]! + carry);
  }

  /** WRMSR of hi:lo. */
  write(index: number, lo: number, hi: number): MsrWriteResult {
    // EOI, IPIs and the timer first: a guest in x2APIC mode writes them all the time.
    if (index >= M.IA32_X2APIC_FIRST && index <= M.IA32_X2APIC_LAST) {
      return this.#lapic.msrWrite(index, lo, hi) ? MSR_OK : MSR_GP;
    }
    const canonical = CANONICAL.get(index);
    if (canonical !== undefined) return isCanonical(hi) ? this.#set(canonical, lo, hi) : MSR_GP;
    const plain = PLAIN.get(index);
    if (plain !== undefined) return this.#set(plain, lo, hi);
    switch (index) {
      case M.IA32_TSC_DEADLINE:
        this.#lapic.timer.writeTscDeadline(lo, hi);
        return MSR_OK;
      case M.IA32_APIC_BASE:
        return this.#lapic.setApicBase(lo, hi) ? MSR_OK_MODE : MSR_GP;
      case M.IA32_EFER:
        return this.#writeEfer(lo, hi);
      case M.IA32_FMASK:
      case M.IA32_TSC_AUX:
        return hi === 0 ? this.#set(wordSlot(index)!, lo, 0) : MSR_GP;
      case M.IA32_PAT:
        return isPat(lo) && isPat(hi) ? this.#set(S.PAT, lo, hi) : MSR_GP;
      case M.IA32_MISC_ENABLE:
        return this.#set(S.MISC_ENABLE, lo, hi);
      case M.IA32_TIME_STAMP_COUNTER:
        return this.#writeTsc(lo, hi);
      case M.IA32_TSC_ADJUST:
        return this.#writeTscAdjust(lo, hi);
      case M.MSR_KVM_SYSTEM_TIME_NEW:
        this.#set(S.KVM_SYSTEM_TIME, lo, hi);
        this.refreshPvclock();
        return MSR_OK;
      case M.MSR_KVM_WALL_CLOCK_NEW:
        return this.#writeWallClock(lo, hi);
      default:
        return this.#writeRare(index, lo, hi);
    }
  }

  /** Writes this vCPU's kvmclock structure anew: after the guest asked, moved its TSC, or was resumed elsewhere. */
  refreshPvclock(): void {
    const lo = this.#words[this.#word(S.KVM_SYSTEM_TIME)]!;
    if ((lo & 1) === 0) return;
    const gpa = (this.#words[this.#word(S.KVM_SYSTEM_TIME) + 1]! >>> 0) * TWO_32 + ((lo & ~1) >>> 0);
    const now = Math.floor(this.#hooks.nowNs());
    const tsc = BigInt(now) + this.#tscOffset();
    writePvclock(this.#ram, gpa, lowOf(tsc), highOf(tsc), Math.max(0, now - Math.floor(this.#bootNs[0]!)));
  }

  #writeRare(index: number, lo: number, hi: number): MsrWriteResult {
    const mtrr = mtrrSlot(index);
    if (mtrr !== undefined) return isMtrrValue(index, lo, hi) ? this.#set(mtrr, lo, hi) : MSR_GP;
    const zero = lo === 0 && hi === 0;
    switch (index) {
      case M.IA32_BIOS_SIGN_ID: // written with 0 before CPUID, to read the revision after it
      case M.IA32_MCG_STATUS:
        return zero ? MSR_OK : MSR_GP;
      case M.IA32_DEBUGCTL: // LBR and BTF are accepted and do nothing
        return (lo & ~3) === 0 && hi === 0 ? MSR_OK : MSR_GP;
      default:
        return this.#writeMachineCheck(index, lo, hi);
    }
  }

  /** SDM vol. 3 §16.3.2: all or none of CTL's bits; STATUS can only be cleared; ADDR and MISC hold anything. */
  #writeMachineCheck(index: number, lo: number, hi: number): MsrWriteResult {
    const slot = machineCheckSlot(index);
    if (slot === undefined) return MSR_GP;
    const zero = lo === 0 && hi === 0;
    const register = (index - M.IA32_MC0_CTL) & 3;
    const allowed = register >= 2 || zero || (register === 0 && (lo & hi) === -1);
    return allowed ? this.#set(slot, lo, hi) : MSR_GP;
  }

  /** SDM vol. 3 §2.2.1. LMA is the processor's; LME cannot change under paging. */
  #writeEfer(lo: number, hi: number): MsrWriteResult {
    if (hi !== 0 || (lo & ~(M.EFER_SCE | M.EFER_LME | M.EFER_LMA | M.EFER_NXE)) !== 0) return MSR_GP;
    const was = this.#words[this.#word(S.EFER)]!;
    const paging = this.#words[this.#word(S.CR0)]! >>> CR0_PG_BIT !== 0;
    if (paging && ((was ^ lo) & M.EFER_LME) !== 0) return MSR_GP;
    this.#set(S.EFER, (lo & ~M.EFER_LMA) | (was & M.EFER_LMA), 0);
    return MSR_OK_MODE;
  }

  /** SDM vol. 3 §18.17.3: a write moves TSC_ADJUST by as much as the counter. */
  #writeTsc(lo: number, hi: number): MsrWriteResult {
    const value = BigInt.asIntN(64, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0));
    const now = BigInt(Math.floor(this.#hooks.nowNs())) + this.#tscOffset();
    return this.#moveTsc(value - now);
  }

  #writeTscAdjust(lo: number, hi: number): MsrWriteResult {
    const value = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
    return this.#moveTsc(value - this.#getLong(S.TSC_ADJUST));
  }

  #moveTsc(delta: bigint): MsrWriteResult {
    this.#setLong(S.TSC_OFFSET, this.#tscOffset() + delta);
    this.#setLong(S.TSC_ADJUST, this.#getLong(S.TSC_ADJUST) + delta);
    this.#lapic.timer.rebase();
    this.refreshPvclock();
    return MSR_OK;
  }

  #writeWallClock(lo: number, hi: number): MsrWriteResult {
    this.#set(S.KVM_WALL_CLOCK, lo, hi);
    const bootWallNs = this.#hooks.wallNs() - (this.#hooks.nowNs() - this.#bootNs[0]!);
    writeWallClock(this.#ram, (hi >>> 0) * TWO_32 + (lo >>> 0), bootWallNs);
    return MSR_OK;
  }

  /** As firmware leaves them: write-back, but VGA memory and the MMIO hole. The same on every vCPU, or Linux complains. */
  #resetMtrrs(): void {
    const writeBack = 0x0606_0606;
    for (let i = 0; i < 11; i++) this.#set(S.MTRR_FIXED + i * 8, writeBack, writeBack);
    this.#set(mtrrSlot(M.IA32_MTRR_FIX16K_A0000)!, 0, 0);
    for (let i = 0; i < M.MTRR_VARIABLE_COUNT * 2; i++) this.#set(S.MTRR_VARIABLE + i * 8, 0, 0);
    this.#set(S.MTRR_VARIABLE, 0xc000_0000, 0);
    this.#set(S.MTRR_VARIABLE + 8, 0xc000_0800, PHYSICAL_HIGH_MASK);
    this.#set(S.MTRR_DEF_TYPE, 0xc06, 0);
  }

  #tscOffset(): bigint {
    return this.#getLong(S.TSC_OFFSET);
  }

  #getLong(slot: number): bigint {
    const word = this.#word(slot);
    return (BigInt(this.#words[word + 1]!) << 32n) | BigInt(this.#words[word]! >>> 0);
  }

  #setLong(slot: number, value: bigint): void {
    this.#set(slot, lowOf(value), highOf(value));
  }

  #word(slot: number): number {
    return this.#state + (slot >> 2);
  }

  #set(slot: number, lo: number, hi: number): typeof MSR_OK {
    this.#words[this.#word(slot)] = lo;
    this.#words[this.#word(slot) + 1] = hi;
    return MSR_OK;
  }

  #give(lo: number, hi: number): true {
    this.lo = lo >>> 0;
    this.hi = hi >>> 0;
    return true;
  }
}

/** Slots that {@link MsrFile.read} gives as they are, and that have a rule of their own at a write. */
function wordSlot(index: number): number | undefined {
  switch (index) {
    case M.IA32_APIC_BASE:
      return S.APIC_BASE;
    case M.IA32_EFER:
      return S.EFER;
    case M.IA32_FMASK:
      return S.FMASK;
    case M.IA32_TSC_AUX:
      return S.TSC_AUX;
    case M.IA32_PAT:
      return S.PAT;
    case M.IA32_MISC_ENABLE:
      return S.MISC_ENABLE;
    case M.IA32_TSC_ADJUST:
      return S.TSC_ADJUST;
    case M.MSR_KVM_SYSTEM_TIME_NEW:
      return S.KVM_SYSTEM_TIME;
    case M.MSR_KVM_WALL_CLOCK_NEW:
      return S.KVM_WALL_CLOCK;
    default:
      return undefined;
  }
}

/** The state page's slot of an MTRR. Fixed ones in the order 64K, 16K ×2, 4K ×8. */
function mtrrSlot(index: number): number | undefined {
  if (index >= M.IA32_MTRR_PHYSBASE0 && index <= M.IA32_MTRR_PHYSMASK7) {
    return S.MTRR_VARIABLE + (index - M.IA32_MTRR_PHYSBASE0) * 8;
  }
  if (index === M.IA32_MTRR_DEF_TYPE) return S.MTRR_DEF_TYPE;
  if (index === M.IA32_MTRR_FIX64K_00000) return S.MTRR_FIXED;
  if (index === M.IA32_MTRR_FIX16K_80000) return S.MTRR_FIXED + 8;
  if (index === M.IA32_MTRR_FIX16K_A0000) return S.MTRR_FIXED + 16;
  if (index >= M.IA32_MTRR_FIX4K_C0000 && index <= M.IA32_MTRR_FIX4K_F8000) {
    return S.MTRR_FIXED + 24 + (index - M.IA32_MTRR_FIX4K_C0000) * 8;
  }
  return undefined;
}

function machineCheckSlot(index: number): number | undefined {
  const register = index - M.IA32_MC0_CTL;
  return register >= 0 && register < M.MCE_BANK_COUNT * 4 ? S.MCE_BANKS + register * 8 : undefined;
}

function isMtrrValue(index: number, lo: number, hi: number): boolean {
  if (index === M.IA32_MTRR_DEF_TYPE) return hi === 0 && (lo & ~0xcff) === 0 && isMtrrType(lo & 0xff);
  if (index > M.IA32_MTRR_PHYSMASK7) {
    for (let shift = 0; shift < 32; shift += 8) {
      if (!isMtrrType((lo >>> shift) & 0xff) || !isMtrrType((hi >>> shift) & 0xff)) return false;
    }
    return true;
  }
  if ((hi & ~PHYSICAL_HIGH_MASK) !== 0) return false;
  return (index & 1) === 0 ? (lo & 0xf00) === 0 && isMtrrType(lo & 0xff) : (lo & 0x7ff) === 0;
}

/** UC WC WT WP WB. */
function isMtrrType(type: number): boolean {
  return type === 0 || type === 1 || type === 4 || type === 5 || type === 6;
}

/** Four PAT entries: MTRR types and UC− (7). */
function isPat(word: number): boolean {
  for (let shift = 0; shift < 32; shift += 8) {
    const type = (word >>> shift) & 0xff;
    if (!isMtrrType(type) && type !== 7) return false;
  }
  return true;
}

/** Bits 63:47 equal. */
function isCanonical(hi: number): boolean {
  const top = (hi | 0) >> 15;
  return top === 0 || top === -1;
}

function lowOf(value: bigint): number {
  return Number(BigInt.asUintN(32, value));
}

function highOf(value: bigint): number {
  return Number(BigInt.asUintN(32, value >> 32n));
}
