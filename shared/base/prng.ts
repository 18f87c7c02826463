// Seeded pseudo-random numbers, so that a fault plan, a fuzzer or a test replays from its seed: xoshiro128** 1.1
// (Blackman, Vigna 2018) with its state filled by splitmix32. Not for secrets.

/** A replayable source of random numbers. */
export interface Prng {
  /** Uniform in 0 … 2^32 − 1. */
  u32(): number;
  /** Uniform in [0, 1). */
  float(): number;
  /** Uniform in 0 … bound − 1; `bound` from 1 to 2^32. */
  below(bound: number): number;
  /** Fills `target` with random bytes. */
  fill(target: Uint8Array): void;
}

function rotl(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}

/** A generator whose sequence depends on nothing but `seed` (its low 32 bits). */
export function createPrng(seed: number): Prng {
  let mix = seed | 0;
  const splitmix = (): number => {
    mix = (mix + 0x9e3779b9) | 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let s0 = splitmix();
  let s1 = splitmix();
  let s2 = splitmix();
  let s3 = splitmix() | 1; // never all zero
  const u32 = (): number => {
    const result = Math.imul(rotl(Math.imul(s1, 5), 7), 9) >>> 0;
    const t = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= t;
    s3 = rotl(s3, 11);
    return result;
  };
  const float = (): number => u32() / 0x1_0000_0000;
  return {
    u32,
    float,
    below: (bound) => Math.floor(float() * bound),
    fill: (target) => {
      for (let i = 0; i < target.length; i++) target[i] = u32() >>> 24;
    },
  };
}

/** A 32-bit hash of a string (FNV-1a), to derive one seed per name. */
export function hashString(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
