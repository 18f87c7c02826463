import { expect, it } from 'vitest';
import { kvmTable } from '../../../../bench/kvm/report.js';

it('sets Troupe beside C and judges the ratio by the goal', () => {
  const row = { name: 'msi', what: 'a message', unit: 'µs', bare: 10, goal: 1.5 };
  const [, , met, short] = kvmTable([
    { ...row, troupe: 15 },
    { ...row, troupe: 15.1 },
  ]).split('\n');
  expect(met).toBe('| msi | a message | µs | 15.00 | 10.00 | 1.50 | ≤ 1.5: met |');
  expect(short).toBe('| msi | a message | µs | 15.10 | 10.00 | 1.51 | ≤ 1.5: short |');
});
