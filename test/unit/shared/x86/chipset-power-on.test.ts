import { expect, test } from 'vitest';
import { startLegacyTimer } from '#shared/x86/chipset-power-on.js';
import { buildInterruptMachine } from '../../../support/interrupt-machine.js';
import { getDouble, viewChipsetPage } from '#shared/chipset/chipset-page.js';
import { CHIPSET_PAGE_BYTES, PIT_NEXT_EDGE } from '#shared/chipset/page-layout.js';

test('the timer that firmware leaves ticks at 18.2 Hz as vector 8', () => {
  const machine = buildInterruptMachine(1);
  const { fabric } = machine;
  const startNs = machine.clock.nowNs();
  startLegacyTimer(fabric, startNs);
  expect(machine.lapics[0]!.acknowledgeInterrupt()).toBe(8);
  const page = viewChipsetPage(fabric.words.buffer, fabric.chipset * 4, CHIPSET_PAGE_BYTES);
  expect((getDouble(page, PIT_NEXT_EDGE) - startNs) / 1e6).toBeCloseTo(54.9, 1);
});
