// SSE data movement: whole registers, halves, scalars, non-temporal stores, masks to general registers, prefetches.
// Intel SDM vol. 2. Non-temporal and prefetch hints have no effect here.
import { HELPER_ARG0 } from '#shared/x86/cpu-state.js';
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import {
  IOTA,
  checkMmx,
  constBytes,
  enterMmx,
  immediate,
  joinLow,
  lane,
  lowQuad,
  readAligned,
  readLowVector,
  readMmx,
  replaceLane,
  shuffle,
  simd,
  simdTable,
  v,
  writeAligned,
  writeMmx,
  zeroExtendToVector,
  zeroVector,
} from './sse-operand.js';

const moveAligned: Semantics = (e, op) => writeAligned(e, op, 0, readAligned(e, op, 1));
const moveUnaligned: Semantics = (_e, op) => op.write(0, op.read(1));

function scalarMove(bits: 32 | 64): Semantics {
  return (e, op) => {
    const value = op.readScalar(1, bits);
    // A load clears the rest of the register; register to register and stores do not.
    if (op.kind(1) === 'memory') op.write(0, zeroExtendToVector(e, value));
    else op.writeScalar(0, bits, value);
  };
}

const moveLowHalf: Semantics = (_e, op) => op.writeScalar(0, 64, op.readScalar(1, 64));

const moveHighHalf: Semantics = (e, op) => {
  if (op.kind(0) === 'memory') op.writeScalar(0, 64, lane(e, 'f64x2.extract_lane', op.read(1), 1));
  else op.write(0, replaceLane(e, 'f64x2.replace_lane', op.read(0), 1, op.readScalar(1, 64)));
};

const moveHighToLow: Semantics = (e, op) =>
  op.writeScalar(0, 64, lane(e, 'f64x2.extract_lane', op.read(1), 1));
const moveLowToHigh: Semantics = (e, op) => op.write(0, joinLow(e, op.read(0), op.read(1)));

/** MOVD and MOVQ between general registers or memory and the low part of a vector register. */
function moveScalarInteger(bits: 32 | 64): Semantics {
  return (e, op) => {
    if (op.kind(0) === 'mmx' || op.kind(1) === 'mmx') return moveMmx(e, op, bits);
    if (op.kind(0) === 'xmm') return op.write(0, zeroExtendToVector(e, op.readLow(1, bits)));
    const value = op.readLow(1, bits);
    if (op.kind(0) === 'memory') op.writeLow(0, bits, value);
    else op.write(0, value);
  };
}

function moveMmx(e: Emitter, op: Operands, bits: 32 | 64): void {
  if (op.kind(0) === 'mmx') {
    const value = op.kind(1) === 'mmx' ? op.readLow(1, 64) : op.readLow(1, bits);
    writeMmx(e, op, 0, e.toBits(value, 64));
    return;
  }
  const value = e.toBits(op.readLow(1, 64), bits);
  if (op.kind(0) === 'memory') {
    op.writeLow(0, bits, value);
    enterMmx(e);
  } else {
    enterMmx(e);
    op.write(0, value);
  }
}

/** Chooses the check by the operands: the same mnemonic has SSE and MMX forms. */
function eitherForm(sem: Semantics): Semantics {
  const checked = simd(sem);
  return (e, op) => {
    if (op.kind(0) === 'mmx' || op.kind(1) === 'mmx') {
      checkMmx(e);
      sem(e, op);
    } else checked(e, op);
  };
}

function signMask(name: string): Semantics {
  return (e, op) => op.write(0, e.toBits(e.op(name, [op.read(1)]), op.bitsOf(0)));
}

const moveByteMask: Semantics = (e, op) => {
  if (op.kind(1) === 'mmx') {
    checkMmx(e);
    const mask = v(e, 'i8x16.bitmask', readMmx(e, op, 1));
    enterMmx(e);
    op.write(0, e.toBits(mask, op.bitsOf(0)));
    return;
  }
  simd(signMask('i8x16.bitmask'))(e, op);
};

const MOVDDUP = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7];
const MOVSLDUP = [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11];
const MOVSHDUP = [4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15];

function duplicate(lanes: readonly number[]): Semantics {
  return (e, op) => {
    const a = readAligned(e, op, 1);
    op.write(0, shuffle(e, a, a, lanes));
  };
}

/** Encoding number. */
const RDI = 7;

/**
 * Stores the bytes of `source` whose mask byte is negative, one by one: no other byte may be touched. All of the
 * destination must be writable, whatever the mask.
 */
function storeMasked(e: Emitter, linear: Value, source: Value, mask: Value, bytes: 8 | 16): void {
  e.setState('i64', HELPER_ARG0, linear);
  e.helper('probeWrite', [e.i32(bytes)]);
  const bits = e.variable(v(e, 'i8x16.bitmask', mask));
  if (bytes === 8) bits.set(e.and(bits.get(), e.i32(0xff)));
  const data = e.variable(source);
  e.block((end) => {
    e.loop((again) => {
      e.branchIf(end, e.eqz(bits.get()));
      const index = e.ctz(bits.get());
      const rotated = v(e, 'i8x16.swizzle', data.get(), v(e, 'i8x16.splat', index));
      e.store(e.add(linear, e.extendU(index)), 1, lane(e, 'i8x16.extract_lane_u', rotated, 0));
      bits.set(e.and(bits.get(), e.sub(bits.get(), e.i32(1))));
      e.branch(again);
    });
  });
}

/** The implicit destination: segment (DS or its override) at RDI. */
function maskDestination(e: Emitter, op: Operands, bytes: 8 | 16): Value {
  return e.linear(op.segment(), e.zeroExtend(e.readGpr(RDI, 64), op.addressBits), bytes, 'write');
}

const maskMoveDoubleQuad: Semantics = (e, op) =>
  storeMasked(e, maskDestination(e, op, 16), op.read(0), op.read(1), 16);
const maskMoveQuad: Semantics = (e, op) => {
  checkMmx(e);
  storeMasked(e, maskDestination(e, op, 8), readMmx(e, op, 0), readMmx(e, op, 1), 8);
  enterMmx(e);
};

/** PEXTRW, PEXTRB…: one element chosen by an immediate, zero-extended. */
function extractElement(bits: 8 | 16 | 32 | 64): Semantics {
  const bytes = bits / 8;
  const name = {
    8: 'i8x16.extract_lane_u',
    16: 'i16x8.extract_lane_u',
    32: 'i32x4.extract_lane',
    64: 'i64x2.extract_lane',
  }[bits];
  return (e, op) => {
    const index = e.and(immediate(e, op, 2), e.i32(16 / bytes - 1));
    const known = e.known(index);
    if (known !== undefined) {
      op.write(0, e.toBits(lane(e, name, op.read(1), known), op.bitsOf(0)));
      return;
    }
    const from = v(e, 'i8x16.splat', e.mul(index, e.i32(bytes)));
    const moved = v(e, 'i8x16.swizzle', op.read(1), v(e, 'i8x16.add', from, constBytes(e, IOTA)));
    op.write(0, e.toBits(lane(e, name, moved, 0), op.bitsOf(0)));
  };
}

const extractWord: Semantics = (e, op) => {
  if (op.kind(1) !== 'mmx') return simd(extractElement(16))(e, op);
  checkMmx(e);
  const shift = e.mul(e.and(immediate(e, op, 2), e.i32(3)), e.i32(16));
  const word = e.and(e.shrU(op.readLow(1, 64), e.extendU(shift)), e.i64(0xffff));
  enterMmx(e);
  op.write(0, e.toBits(word, op.bitsOf(0)));
};

/** PINSRW, PINSRB…: replaces one element chosen by an immediate. */
function insertElement(bits: 8 | 16 | 32 | 64): Semantics {
  const shape = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' }[bits];
  return (e, op) => {
    const lanes = 128 / bits;
    const index = e.and(immediate(e, op, 2), e.i32(lanes - 1));
    const known = e.known(index);
    if (known !== undefined) {
      const element = op.readLow(1, bits);
      op.write(0, replaceLane(e, `${shape}.replace_lane`, op.read(0), known, element));
      return;
    }
    const numbers = IOTA.slice(0, lanes).flatMap((i) => [i, ...new Array<number>(bits / 8 - 1).fill(0)]);
    const mask = v(
      e,
      `${shape}.eq`,
      constBytes(e, numbers),
      v(e, `${shape}.splat`, bits === 64 ? e.extendU(index) : index),
    );
    const value = v(e, `${shape}.splat`, op.readLow(1, bits));
    op.write(0, v(e, 'v128.bitselect', value, op.read(0), mask));
  };
}

const insertWord: Semantics = (e, op) => {
  if (op.kind(0) !== 'mmx') return simd(insertElement(16))(e, op);
  checkMmx(e);
  const shift = e.extendU(e.mul(e.and(immediate(e, op, 2), e.i32(3)), e.i32(16)));
  const value = e.shl(e.extendU(op.readLow(1, 16)), shift);
  const kept = e.and(op.readLow(0, 64), e.xor(e.shl(e.i64(0xffff), shift), e.i64(-1)));
  writeMmx(e, op, 0, e.or(kept, e.and(value, e.shl(e.i64(0xffff), shift))));
};

/** INSERTPS: source element by imm[7:6], place by imm[5:4], lanes to clear by imm[3:0]. */
const insertSingle: Semantics = (e, op) => {
  const control = immediate(e, op, 2);
  const source = e.mul(e.shrU(control, e.i32(6)), e.i32(4));
  const value =
    op.kind(1) === 'memory'
      ? v(e, 'i32x4.splat', op.readLow(1, 32))
      : v(
          e,
          'i8x16.swizzle',
          op.read(1),
          v(
            e,
            'i8x16.add',
            v(e, 'i8x16.splat', source),
            constBytes(e, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]),
          ),
        );
  const place = e.and(e.shrU(control, e.i32(4)), e.i32(3));
  const mask = v(
    e,
    'i32x4.eq',
    constBytes(e, [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]),
    v(e, 'i32x4.splat', place),
  );
  const inserted = v(e, 'v128.bitselect', value, op.read(0), mask);
  const bits = constBytes(e, [1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0]);
  const cleared = v(e, 'i32x4.ne', v(e, 'v128.and', v(e, 'i32x4.splat', control), bits), zeroVector(e));
  op.write(0, v(e, 'v128.andnot', inserted, cleared));
};

const moveQuadToXmm: Semantics = (e, op) => {
  // MOVQ2DQ is an MMX instruction for #NM and #MF, an SSE one for #UD.
  checkMmx(e);
  const value = op.readLow(1, 64);
  enterMmx(e);
  op.write(0, zeroExtendToVector(e, value));
};
const moveXmmToQuad: Semantics = (e, op) => {
  checkMmx(e);
  writeMmx(e, op, 0, lowQuad(e, op.read(1)));
};

function extendLow(steps: readonly string[], bits: 16 | 32 | 64): Semantics {
  return (e, op) =>
    op.write(
      0,
      steps.reduce((value, step) => v(e, step, value), readLowVector(e, op, 1, bits)),
    );
}
function extensions(sign: 's' | 'u'): Record<string, Semantics> {
  const bw = `i16x8.extend_low_i8x16_${sign}`;
  const wd = `i32x4.extend_low_i16x8_${sign}`;
  const dq = `i64x2.extend_low_i32x4_${sign}`;
  const name = sign === 's' ? 'Pmovsx' : 'Pmovzx';
  return {
    [`${name}bw`]: extendLow([bw], 64),
    [`${name}bd`]: extendLow([bw, wd], 32),
    [`${name}bq`]: extendLow([bw, wd, dq], 16),
    [`${name}wd`]: extendLow([wd], 64),
    [`${name}wq`]: extendLow([wd, dq], 32),
    [`${name}dq`]: extendLow([dq], 64),
  };
}

export const SSE_MOVE: SemanticsTable = {
  ...simdTable({
    Movaps: moveAligned,
    Movapd: moveAligned,
    Movdqa: moveAligned,
    Movntps: moveAligned,
    Movntpd: moveAligned,
    Movntdq: moveAligned,
    Movntdqa: moveAligned,
    Movups: moveUnaligned,
    Movupd: moveUnaligned,
    Movdqu: moveUnaligned,
    Lddqu: moveUnaligned,
    Movss: scalarMove(32),
    Movsd: scalarMove(64),
    Movlps: moveLowHalf,
    Movlpd: moveLowHalf,
    Movhps: moveHighHalf,
    Movhpd: moveHighHalf,
    Movhlps: moveHighToLow,
    Movlhps: moveLowToHigh,
    Movmskps: signMask('i32x4.bitmask'),
    Movmskpd: signMask('i64x2.bitmask'),
    Movddup: (e, op) => {
      const a = readLowVector(e, op, 1, 64);
      op.write(0, shuffle(e, a, a, MOVDDUP));
    },
    Movsldup: duplicate(MOVSLDUP),
    Movshdup: duplicate(MOVSHDUP),
    Pextrb: extractElement(8),
    Pextrd: extractElement(32),
    Pextrq: extractElement(64),
    Extractps: extractElement(32),
    Pinsrb: insertElement(8),
    Pinsrd: insertElement(32),
    Pinsrq: insertElement(64),
    Insertps: insertSingle,
    ...extensions('s'),
    ...extensions('u'),
  }),
  Movd: { sem: eitherForm(moveScalarInteger(32)) },
  Movq: { sem: eitherForm(moveScalarInteger(64)) },
  Pextrw: { sem: extractWord },
  Pinsrw: { sem: insertWord },
  Pmovmskb: { sem: moveByteMask },
  Movq2dq: { sem: moveQuadToXmm },
  Movdq2q: { sem: moveXmmToQuad },
  Maskmovdqu: { sem: simd(maskMoveDoubleQuad), modeSensitive: true },
  Maskmovq: { sem: maskMoveQuad, modeSensitive: true },
  Movntq: { sem: eitherForm(moveScalarInteger(64)) },
};
