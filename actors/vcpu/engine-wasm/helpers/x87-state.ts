// x87 control and the memory images of FNSAVE and FNSTENV, built in and read from FX_IMAGE of the state page (FXSAVE's: shared/x86/routines).
// Intel SDM vol. 1 §8.1.10 (environment and state images), vol. 2 FNSAVE, FNINIT. FCS and FDS are zero.
import {
  CR0,
  FX_IMAGE,
  X87_CONTROL,
  X87_DP,
  X87_IP,
  X87_OPCODE,
  X87_STATUS,
  X87_TAGS,
  X87_TOP,
} from '#shared/x86/cpu-state.js';
import { F80, unpack } from '#shared/x86/softfloat/format.js';
import { summarize } from './x87-unit.js';
import type { X87Unit } from './x87-unit.js';

const FCW_INITIAL = 0x37f;
/** Control word bits that exist; bit 6 always reads one. */
const FCW_MASK = 0x1f7f;
const FCW_ONE = 0x40;

function statusWord(unit: X87Unit): number {
  return unit.status | (unit.top << 11);
}

function setStatusWord(unit: X87Unit, word: number): void {
  unit.top = (word >> 11) & 7;
  unit.status = word & 0xc77f;
}

export function setControl(unit: X87Unit, word: number): number {
  unit.page.setInt32(X87_CONTROL, (word & FCW_MASK) | FCW_ONE, true);
  unit.page.setInt32(X87_STATUS, summarize(unit.status, unit.control), true);
  return 0;
}

export function initialize(unit: X87Unit): number {
  const { page } = unit;
  page.setInt32(X87_CONTROL, FCW_INITIAL, true);
  page.setInt32(X87_STATUS, 0, true);
  page.setInt32(X87_TOP, 0, true);
  page.setInt32(X87_TAGS, 0, true);
  page.setInt32(X87_OPCODE, 0, true);
  page.setBigUint64(X87_IP, 0n, true);
  page.setBigUint64(X87_DP, 0n, true);
  return 0;
}

/** The two-bit tags of FNSTENV: 0 valid, 1 zero, 2 special, 3 empty. */
function fullTags(unit: X87Unit): number {
  let word = 0;
  for (let physical = 0; physical < 8; physical++) {
    const i = (physical - unit.top) & 7;
    let tag = 3;
    if (!unit.isEmpty(i)) {
      const a = unpack(F80, unit.read(i));
      tag = a.kind === 'zero' ? 1 : a.kind === 'finite' && !a.denormal ? 0 : 2;
    }
    word |= tag << (2 * physical);
  }
  return word;
}

function setFullTags(unit: X87Unit, word: number): void {
  let tags = 0;
  for (let physical = 0; physical < 8; physical++)
    if (((word >> (2 * physical)) & 3) !== 3) tags |= 1 << physical;
  unit.tags = tags;
}

/** FNSTENV: 14 or 28 bytes; in real mode pointers are linear addresses with the opcode beside them. Masks all exceptions afterwards only in memory's caller. */
export function environmentImage(unit: X87Unit, bits: number): number {
  const { page } = unit;
  const real = (page.getUint32(CR0, true) & 1) === 0;
  const ip = page.getUint32(X87_IP, true);
  const dp = page.getUint32(X87_DP, true);
  const opcode = page.getUint16(X87_OPCODE, true) & 0x7ff;
  const words = [unit.control, statusWord(unit), fullTags(unit)];
  if (bits === 16) {
    if (real) words.push(ip, ((ip >>> 4) & 0xf000) | opcode, dp, (dp >>> 4) & 0xf000);
    else words.push(ip, 0, dp, 0);
    words.forEach((word, i) => page.setUint16(FX_IMAGE + 2 * i, word, true));
    return 0;
  }
  const dwords = words.map((word) => (word & 0xffff) | 0xffff0000);
  if (real)
    dwords.push(
      (ip & 0xffff) | 0xffff0000,
      ((ip >>> 16) << 12) | opcode,
      (dp & 0xffff) | 0xffff0000,
      (dp >>> 16) << 12,
    );
  else dwords.push(ip, opcode << 16, dp, 0xffff0000);
  dwords.forEach((dword, i) => page.setInt32(FX_IMAGE + 4 * i, dword, true));
  return 0;
}

/** FLDENV. */
export function loadEnvironment(unit: X87Unit, bits: number): number {
  const { page } = unit;
  const real = (page.getUint32(CR0, true) & 1) === 0;
  const step = bits === 16 ? 2 : 4;
  const word = (i: number): number => page.getUint16(FX_IMAGE + step * i, true);
  const dword = (i: number): number => page.getUint32(FX_IMAGE + 4 * i, true);
  page.setInt32(X87_CONTROL, (word(0) & FCW_MASK) | FCW_ONE, true);
  setStatusWord(unit, word(1));
  setFullTags(unit, word(2));
  let ip: number;
  let dp: number;
  let opcode = bits === 16 ? (real ? word(4) : 0) : real ? word(4) : dword(4) >>> 16;
  opcode &= 0x7ff;
  if (bits === 16) {
    ip = word(3) | (real ? (word(4) & 0xf000) << 4 : 0);
    dp = word(5) | (real ? (word(6) & 0xf000) << 4 : 0);
  } else {
    ip = real ? word(3) | ((dword(4) >>> 12) << 16) : dword(3);
    dp = real ? word(5) | ((dword(6) >>> 12) << 16) : dword(5);
  }
  page.setBigUint64(X87_IP, BigInt(ip >>> 0), true);
  page.setBigUint64(X87_DP, BigInt(dp >>> 0), true);
  page.setInt32(X87_OPCODE, opcode, true);
  return 0;
}

/** FNSAVE: the environment, then the registers from ST(0), 10 bytes each. */
export function saveImage(unit: X87Unit, bits: number): number {
  environmentImage(unit, bits);
  const start = FX_IMAGE + (bits === 16 ? 14 : 28);
  for (let i = 0; i < 8; i++) copyRegister(unit.page, unit.offset(i), start + 10 * i);
  return 0;
}

export function restoreImage(unit: X87Unit, bits: number): number {
  loadEnvironment(unit, bits);
  const start = FX_IMAGE + (bits === 16 ? 14 : 28);
  for (let i = 0; i < 8; i++) copyRegister(unit.page, start + 10 * i, unit.offset(i));
  return 0;
}

function copyRegister(page: DataView, from: number, to: number): void {
  page.setBigUint64(to, page.getBigUint64(from, true), true);
  page.setUint16(to + 8, page.getUint16(from + 8, true), true);
}
