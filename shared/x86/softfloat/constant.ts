// The x87's constants, rounded by RC: log2 10, log2 e, π, log10 2, ln 2 are irrational and known here to 128 significant bits.
// Intel SDM vol. 2, FLD1 … FLDZ: their inexactness is not reported.
import { F80, bitLength, pack } from './format.js';
import { roundShift } from './rounding.js';

/** value = significand × 2^(top − 127). */
interface LongConstant {
  readonly significand: bigint;
  readonly top: number;
}

export const LOG2_10: LongConstant = { significand: 0xd49a784bcd1b8afe492bf6ff4dafdb4cn, top: 1 };
export const LOG2_E: LongConstant = { significand: 0xb8aa3b295c17f0bbbe87fed0691d3e89n, top: 0 };
export const PI: LongConstant = { significand: 0xc90fdaa22168c234c4c6628b80dc1cd1n, top: 1 };
export const LOG10_2: LongConstant = { significand: 0x9a209a84fbcff7988f8959ac0b7c9178n, top: -2 };
export const LN_2: LongConstant = { significand: 0xb17217f7d1cf79abc9e3b39803f2f6afn, top: -1 };

const CONSTANTS: readonly (LongConstant | undefined)[] = [undefined, LOG2_10, LOG2_E, PI, LOG10_2, LN_2];

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: 0–6. */
export function extendedConstant(which: number, rounding: number): bigint {
  if (which === 0) return pack(F80, 0, F80.emax, 1n << 63n);
  const constant = CONSTANTS[which];
  if (constant === undefined) return 0n;
  const { value } = roundShift(constant.significand, bitLength(constant.significand) - 64, 0, rounding);
  return pack(F80, 0, F80.emax + constant.top, value);
}
