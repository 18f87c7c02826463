import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { elcrWrite, picAcknowledge, picRead, picReturn, picWrite } from '#shared/chipset/pic.js';
import { picHasInterrupt, setPicLine } from '#shared/chipset/pic-lines.js';
import { buildInterruptMachine } from '../../../support/interrupt-machine.js';

/** One 8259A as the datasheet tells it, with arrays of booleans. */
class ChipModel {
  irr = new Array<boolean>(8).fill(false);
  lines = new Array<boolean>(8).fill(false);
  imr = new Array<boolean>(8).fill(false);
  isr = new Array<boolean>(8).fill(false);
  level = new Array<boolean>(8).fill(false);
  base = 0;
  autoEoi = false;
  nested = false;
  rotateOnAutoEoi = false;
  specialMask = false;
  readIsr = false;
  lowest = 7;
  isMaster: boolean;

  constructor(isMaster: boolean) {
    this.isMaster = isMaster;
  }

  order(): number[] {
    return Array.from({ length: 8 }, (_, i) => (this.lowest + 1 + i) % 8);
  }

  output(slaveOutput = false): number {
    for (const input of this.order()) {
      const blocks = this.isr[input] && !(this.specialMask && this.imr[input]);
      const requested = this.isMaster && input === 2 ? slaveOutput : this.irr[input]!;
      const nestedSlave = this.nested && this.isMaster && input === 2;
      if (requested && !this.imr[input] && (!blocks || nestedSlave)) return input;
      if (blocks && !nestedSlave) return -1;
    }
    return -1;
  }

  serve(input: number): void {
    if (!this.level[input]) this.irr[input] = false;
    if (!this.autoEoi) this.isr[input] = true;
    else if (this.rotateOnAutoEoi) this.lowest = input;
  }

  ocw2(value: number): void {
    const [rotate, specific, eoi] = [value & 0x80, value & 0x40, value & 0x20];
    if (eoi) {
      const input = specific ? value & 7 : (this.order().find((i) => this.isr[i]) ?? -1);
      if (input < 0) return;
      this.isr[input] = false;
      if (rotate) this.lowest = input;
    } else if (specific) {
      if (rotate) this.lowest = value & 7;
    } else this.rotateOnAutoEoi = rotate !== 0;
  }
}

class PairModel {
  readonly master = new ChipModel(true);
  readonly slave = new ChipModel(false);

  get output(): boolean {
    return this.master.output(this.slave.output() >= 0) >= 0;
  }

  line(irq: number, high: boolean): void {
    const chip = irq < 8 ? this.master : this.slave;
    const input = irq & 7;
    if (high && (chip.level[input] || !chip.lines[input])) chip.irr[input] = true;
    if (!high && chip.level[input]) chip.irr[input] = false;
    chip.lines[input] = high;
  }

  acknowledge(): number {
    const input = this.master.output(this.slave.output() >= 0);
    if (input < 0) return this.master.base + 7;
    const slaveInput = this.slave.output();
    this.master.serve(input);
    if (input !== 2) return this.master.base + input;
    this.slave.serve(slaveInput);
    return this.slave.base + slaveInput;
  }
}

type Step =
  | { op: 'line'; irq: number; high: boolean }
  | { op: 'imr'; slave: boolean; value: number }
  | { op: 'ocw2'; slave: boolean; value: number }
  | { op: 'mask'; slave: boolean; on: boolean }
  | { op: 'inta' }
  | { op: 'vain' };

const byte = fc.integer({ min: 0, max: 255 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('line' as const),
      irq: fc.integer({ min: 0, max: 15 }),
      high: fc.boolean(),
    }),
  },
  fc.record({ op: fc.constant('imr' as const), slave: fc.boolean(), value: byte }),
  fc.record({ op: fc.constant('ocw2' as const), slave: fc.boolean(), value: byte.map((v) => v & 0xe7) }),
  fc.record({ op: fc.constant('mask' as const), slave: fc.boolean(), on: fc.boolean() }),
  { weight: 3, arbitrary: fc.record({ op: fc.constant('inta' as const) }) },
  fc.record({ op: fc.constant('vain' as const) }),
);

interface Setup {
  autoEoi: boolean;
  nested: boolean;
  elcr: number;
}

const setup: fc.Arbitrary<Setup> = fc.record({
  autoEoi: fc.boolean(),
  nested: fc.boolean(),
  elcr: fc.integer({ min: 0, max: 0xffff }),
});

function initialize(
  machine: ReturnType<typeof buildInterruptMachine>,
  model: PairModel,
  { autoEoi, nested, elcr }: Setup,
): void {
  const icw4 = 1 | (autoEoi ? 2 : 0) | (nested ? 0x10 : 0);
  for (const [port, base, icw3] of [
    [0x20, 0x30, 4],
    [0xa0, 0x38, 2],
  ] as const) {
    picWrite(machine.fabric, port, 0x11);
    for (const value of [base, icw3, icw4]) picWrite(machine.fabric, port + 1, value);
  }
  elcrWrite(machine.fabric, 0x4d0, elcr & 0xff);
  elcrWrite(machine.fabric, 0x4d1, elcr >> 8);
  for (const [chip, base] of [
    [model.master, 0x30],
    [model.slave, 0x38],
  ] as const) {
    Object.assign(chip, { base, autoEoi, nested });
    for (let input = 0; input < 8; input++) {
      const irq = chip.isMaster ? input : input + 8;
      chip.level[input] = ((elcr >> irq) & 1) !== 0 && ![0, 1, 2, 8, 13].includes(irq);
    }
  }
}

function obey(machine: ReturnType<typeof buildInterruptMachine>, model: PairModel, action: Step): void {
  const slave = 'slave' in action && action.slave;
  const chip = slave ? model.slave : model.master;
  const port = slave ? 0xa0 : 0x20;
  switch (action.op) {
    case 'line':
      if (action.irq === 2) return;
      setPicLine(machine.fabric, action.irq, action.high);
      return model.line(action.irq, action.high);
    case 'imr':
      picWrite(machine.fabric, port + 1, action.value);
      chip.imr = chip.imr.map((_, i) => ((action.value >> i) & 1) !== 0);
      return;
    case 'ocw2':
      picWrite(machine.fabric, port, action.value);
      return chip.ocw2(action.value);
    case 'mask':
      picWrite(machine.fabric, port, action.on ? 0x68 : 0x48);
      chip.specialMask = action.on;
      return;
    case 'vain':
      // What such a cycle did to priorities, or that the master had no service of a slave that has, is not undone.
      if (model.master.rotateOnAutoEoi || model.slave.rotateOnAutoEoi || model.slave.isr.includes(true))
        return;
      if (model.output) picReturn(machine.fabric, picAcknowledge(machine.fabric));
      return;
    case 'inta':
      expect(picAcknowledge(machine.fabric)).toBe(model.acknowledge());
  }
}

describe('8259 pair', () => {
  test('agrees with a second implementation over random lines, masks, EOIs and INTA cycles, also vain ones', () => {
    fc.assert(
      fc.property(setup, fc.array(step, { maxLength: 80 }), (config, steps) => {
        const machine = buildInterruptMachine(1);
        const model = new PairModel();
        initialize(machine, model, config);
        for (const action of steps) {
          obey(machine, model, action);
          expect(picHasInterrupt(machine.fabric)).toBe(model.output);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('everything is masked until ICW1, and IMR reads back', () => {
    const { fabric } = buildInterruptMachine(1);
    setPicLine(fabric, 3, true);
    expect(picHasInterrupt(fabric)).toBe(false);
    expect(picRead(fabric, 0x21)).toBe(0xff);
    picWrite(fabric, 0xa1, 0x5a);
    expect(picRead(fabric, 0xa1)).toBe(0x5a);
  });

  test('OCW3 chooses IRR, ISR or a poll', () => {
    const { fabric } = buildInterruptMachine(1);
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 1],
    ] as const)
      picWrite(fabric, port, value);
    setPicLine(fabric, 3, true);
    setPicLine(fabric, 5, true);
    picWrite(fabric, 0x20, 0x0a);
    expect(picRead(fabric, 0x20)).toBe(0x28);
    picWrite(fabric, 0x20, 0x0c);
    expect(picRead(fabric, 0x20)).toBe(0x83);
    picWrite(fabric, 0x20, 0x0b);
    expect(picRead(fabric, 0x20)).toBe(0x08);
    expect(picHasInterrupt(fabric)).toBe(false);
    picWrite(fabric, 0x20, 0x20);
    expect(picAcknowledge(fabric)).toBe(0x25);
  });

  test('an INTA cycle without a request gives input 7 and no service', () => {
    const { fabric } = buildInterruptMachine(1);
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 1],
    ] as const)
      picWrite(fabric, port, value);
    expect(picAcknowledge(fabric)).toBe(0x27);
    picWrite(fabric, 0x20, 0x0b);
    expect(picRead(fabric, 0x20)).toBe(0);
  });
});
