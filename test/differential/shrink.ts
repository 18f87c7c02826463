// Makes a failing case simpler while it still fails: registers to zero or small values, no patches, plain flags and
// floating-point state. What remains is what the failure needs.

import { type Case, copyCase } from './case-record.js';

/** Whether a case still fails (in the same way or another). */
export type Fails = (c: Case) => Promise<boolean>;

const MAX_ROUNDS = 3;
const PLAIN_CONTROL = 0x37f;
const PLAIN_MXCSR = 0x1f80;

function* simplerOnes(c: Case): Generator<Case> {
  for (let i = 0; i < c.patches.length; i++) {
    const simpler = copyCase(c);
    simpler.patches.splice(i, 1);
    yield simpler;
  }
  for (let i = 0; i < 16; i++) {
    const value = c.gpr[i]!;
    for (const candidate of [0n, 1n, value & 0xffn, value & 0xffffffffn]) {
      if (candidate >= value) continue;
      const simpler = copyCase(c);
      simpler.gpr[i] = candidate;
      yield simpler;
      break;
    }
  }
  const plainFlags = copyCase(c);
  plainFlags.rflags = 0x202;
  if (c.rflags !== 0x202) yield plainFlags;
  yield* simplerFloat(c);
}

function* simplerFloat(c: Case): Generator<Case> {
  const view = new DataView(c.fx.buffer, c.fx.byteOffset);
  const changed = (change: (v: DataView, bytes: Uint8Array) => void): Case => {
    const simpler = copyCase(c);
    change(new DataView(simpler.fx.buffer, simpler.fx.byteOffset), simpler.fx);
    return simpler;
  };
  if (view.getUint32(0, true) !== PLAIN_CONTROL) yield changed((v) => v.setUint32(0, PLAIN_CONTROL, true));
  if (view.getUint32(24, true) !== PLAIN_MXCSR) yield changed((v) => v.setUint32(24, PLAIN_MXCSR, true));
  for (let at = 32; at < c.fx.length; at += 16)
    if (c.fx.subarray(at, at + 16).some((byte) => byte !== 0))
      yield changed((_, bytes) => bytes.fill(0, at, at + 16));
}

/** The simplest failing case that was found. */
export async function shrinkCase(c: Case, fails: Fails): Promise<Case> {
  let best = c;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const before = best;
    let again = true;
    while (again) {
      again = false;
      for (const simpler of simplerOnes(best)) {
        if (!(await fails(simpler))) continue;
        best = simpler;
        again = true;
        break;
      }
    }
    if (best === before) break;
  }
  return best;
}
