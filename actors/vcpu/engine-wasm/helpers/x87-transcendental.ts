// F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS: stack, special operands and exceptions. Intel SDM vol. 1 §8.3.8–8.3.10, vol. 2. The
// values come from softfloat/elementary.ts.
import type { X87Unit } from './x87-unit.js';

export function transcendental(unit: X87Unit, _which: number): number {
  unit.begin();
  return 0;
}
