// Operand values for differential cases, biased to the edges of each number format.

import type { Prng } from '#shared/base/prng.js';

/** What the elements of a register or a piece of memory are. */
export type ElementKind = 'integer' | 'f32' | 'f64' | 'f80' | 'bcd';

const INTEGERS = integerEdges();
const F32 = [
  0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x807fffff, 0x400000, 0x800000, 0x80800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
  0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fbfffff, 0x7fffffff, 0xffffffff, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff,
  0x40000000, 0x3f000000, 0xbf000000, 0x3fc00000, 0xbfc00000, 0x40200000, 0x4f000000, 0xcf000000, 0x4effffff, 0xcf000001, 0x5f000000,
  0xdf000000, 0x5effffff, 0x4b000000, 0x4b800000, 0x4b7fffff, 0x00ffffff, 0x01000000, 0x33800000, 0x7e800000, 0x40490fdb, 0x2f800000,
]; // prettier-ignore
const F64 = [
  0n, 1n << 63n, 1n, (1n << 63n) | 1n, 0xfffffffffffffn, 0x800fffffffffffffn, 0x10000000000000n, 0x8010000000000000n, 0x7fefffffffffffffn,
  0xffefffffffffffffn, 0x7ff0000000000000n, 0xfff0000000000000n, 0x7ff8000000000000n, 0xfff8000000000000n, 0x7ff0000000000001n,
  0xfff0000000000001n, 0x7ff7ffffffffffffn, 0x7fffffffffffffffn, 0x3ff0000000000000n, 0xbff0000000000000n, 0x3ff0000000000001n,
  0x3fefffffffffffffn, 0x4000000000000000n, 0x3fe0000000000000n, 0xbfe0000000000000n, 0x3ff8000000000000n, 0xbff8000000000000n,
  0x4004000000000000n, 0x41e0000000000000n, 0xc1e0000000000000n, 0x41dfffffffc00000n, 0x41dfffffffe00000n, 0xc1e0000000100000n,
  0xc1e0000000200000n, 0x43e0000000000000n, 0xc3e0000000000000n, 0x43dfffffffffffffn, 0x4330000000000000n, 0x4340000000000000n,
  0x432fffffffffffffn, 0x36a0000000000000n, 0x3690000000000000n, 0x380fffffffffffffn, 0x3810000000000000n, 0x47efffffe0000000n,
  0x47efffffefffffffn, 0x47f0000000000000n, 0x3e70000000000000n, 0x3ca0000000000000n, 0x400921fb54442d18n,
]; // prettier-ignore
/** Sign-and-exponent words and mantissas, any of one with any of the other: unnormals and pseudo-numbers too. */
const F80_EXPONENTS = [
  0, 1, 0x3fff, 0x3ffe, 0x4000, 0x3ffd, 0x7ffe, 0x7fff, 0x3f81, 0x3c01, 0x43fe, 0x407e, 0x401e, 0x403e, 0x403d, 0x401d, 0x3fc0, 0x4001, 0x4010,
]; // prettier-ignore
const F80_MANTISSAS = [
  1n << 63n, (1n << 63n) | 1n, (1n << 64n) - 1n, 3n << 62n, 0n, 1n, 1n << 62n, (1n << 62n) - 1n, 0xa000000000000000n, 0xfffffffffffff800n,
  0x8000000000000400n, 0xffffff0000000000n, 0x8000008000000000n, 0xc90fdaa22168c235n, 0x8000000000000800n, 0xfffffffffffffc00n,
]; // prettier-ignore

function integerEdges(): BigUint64Array {
  const edges: bigint[] = [];
  for (const bits of [8n, 16n, 32n, 64n]) {
    const sign = 1n << (bits - 1n);
    edges.push(0n, 1n, -1n, 2n, -2n, sign, sign - 1n, sign + 1n, -sign, -sign - 1n, 2n * sign - 1n);
  }
  for (let bit = 0n; bit < 64n; bit += 3n) edges.push(1n << bit, (1n << bit) - 1n);
  edges.push(
    0x5555555555555555n,
    0xaaaaaaaaaaaaaaaan,
    0x0123456789abcdefn,
    0x8080808080808080n,
    0x7f7f7f7f7f7f7f7fn,
    9n,
    0x0f0fn,
    0x99n,
  );
  return BigUint64Array.from(edges.map((edge) => BigInt.asUintN(64, edge)));
}

const INTEGER_WORDS = new Uint32Array(INTEGERS.buffer);

/** Two words (low, high) of a 64-bit integer, into `words` at `at`. */
export function randomInteger(prng: Prng, words: Uint32Array, at: number): void {
  const choice = prng.u32();
  if ((choice & 7) < 4) {
    const index = ((choice >>> 8) % INTEGERS.length) * 2;
    words[at] = INTEGER_WORDS[index]!;
    words[at + 1] = INTEGER_WORDS[index + 1]!;
  } else if ((choice & 7) === 4) {
    words[at] = (choice >>> 8) & 63;
    words[at + 1] = 0;
  } else {
    words[at] = prng.u32();
    words[at + 1] = (choice & 8) === 0 ? prng.u32() : 0;
  }
}

function randomF80(prng: Prng, view: DataView, at: number): void {
  const choice = prng.u32();
  // Three in four are normal numbers or zeros and infinities: the odd encodings all end in one place.
  const exponent =
    (choice & 7) === 0
      ? prng.below(0x8000)
      : (choice & 7) < 4
        ? 0x3fff - 40 + prng.below(104)
        : F80_EXPONENTS[prng.below(F80_EXPONENTS.length)]!;
  view.setUint16(at + 8, exponent | ((choice & 8) << 12), true);
  if ((choice & 48) === 0) {
    view.setUint32(at, prng.u32(), true);
    view.setUint32(at + 4, prng.u32() | ((choice & 64) !== 0 || exponent === 0 ? 0 : 0x80000000), true);
    return;
  }
  let mantissa = F80_MANTISSAS[prng.below(F80_MANTISSAS.length)]!;
  if ((choice & 0x380) !== 0 && exponent !== 0) mantissa |= 1n << 63n;
  view.setBigUint64(at, mantissa, true);
}

function randomBcd(prng: Prng, view: DataView, at: number): void {
  for (let i = 0; i < 9; i++) view.setUint8(at + i, prng.below(10) | (prng.below(10) << 4));
  view.setUint8(at + 9, prng.below(2) << 7);
}

const scratch = new Uint32Array(2);

/** Fills `bytes` of `view` from `at` with elements of a kind; returns nothing, leaves a rest shorter than an element. */
export function fillElements(prng: Prng, view: DataView, at: number, bytes: number, kind: ElementKind): void {
  const end = at + bytes;
  const size = kind === 'f32' ? 4 : kind === 'f80' || kind === 'bcd' ? 10 : 8;
  for (let place = at; place + size <= end; place += size) {
    switch (kind) {
      case 'f32': {
        const choice = prng.u32();
        const near = 0x3f000000 + (prng.u32() >>> 7) + ((choice & 16) << 27);
        view.setUint32(
          place,
          (choice & 3) === 0 ? prng.u32() : (choice & 3) === 1 ? near : F32[(choice >>> 8) % F32.length]!,
          true,
        );
        break;
      }
      case 'f64': {
        const choice = prng.u32();
        if ((choice & 3) >= 2) {
          view.setBigUint64(place, F64[(choice >>> 8) % F64.length]!, true);
        } else {
          const near = 0x3f000000 + (prng.u32() >>> 7) + ((choice & 16) << 27);
          view.setUint32(place, (choice & 32) === 0 ? prng.u32() : 0, true);
          view.setUint32(place + 4, (choice & 3) === 0 ? prng.u32() : near, true);
        }
        break;
      }
      case 'f80':
        randomF80(prng, view, place);
        break;
      case 'bcd':
        randomBcd(prng, view, place);
        break;
      default:
        randomInteger(prng, scratch, 0);
        view.setUint32(place, scratch[0]!, true);
        view.setUint32(place + 4, scratch[1]!, true);
    }
  }
}

const KINDS: readonly ElementKind[] = ['integer', 'f32', 'f64', 'f80'];

/** What the data pages hold at the start of every case: stretches of all kinds. */
export function makeBackground(prng: Prng, bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  const view = new DataView(data.buffer);
  for (let at = 0; at < bytes; at += 64) fillElements(prng, view, at, 64, KINDS[prng.below(KINDS.length)]!);
  return data;
}
