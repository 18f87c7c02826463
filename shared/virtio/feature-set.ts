// A set of feature bits as two unsigned 32-bit words, as feature negotiation hands them over. virtio-v1.2 §2.2.

export interface FeatureSet {
  /** Bits 0–31. */
  readonly lo: number;
  /** Bits 32–63. */
  readonly hi: number;
}

export function featureSet(...bits: readonly number[]): FeatureSet {
  let lo = 0;
  let hi = 0;
  for (const bit of bits) {
    if (bit < 32) lo |= 1 << bit;
    else hi |= 1 << (bit - 32);
  }
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

export function unionFeatures(a: FeatureSet, b: FeatureSet): FeatureSet {
  return { lo: (a.lo | b.lo) >>> 0, hi: (a.hi | b.hi) >>> 0 };
}

export function hasFeature(set: FeatureSet, bit: number): boolean {
  return bit < 32 ? ((set.lo >>> bit) & 1) !== 0 : ((set.hi >>> (bit - 32)) & 1) !== 0;
}

/** Is every bit of `a` in `b`? */
export function isSubset(a: FeatureSet, b: FeatureSet): boolean {
  return (a.lo & ~b.lo) === 0 && (a.hi & ~b.hi) === 0;
}
