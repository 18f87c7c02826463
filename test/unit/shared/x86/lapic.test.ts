import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  PENDING_INIT,
  PENDING_INTERRUPT,
  PENDING_NMI,
  PENDING_NMI_AGAIN,
  PENDING_SIPI,
  SIPI_VECTOR,
} from '#shared/x86/cpu-state.js';
import { deliverMsi, setGsi, setIsaIrq } from '#shared/x86/interrupt-delivery.js';
import { ioapicRead, ioapicWrite } from '#shared/x86/ioapic-page.js';
import { picWrite } from '#shared/chipset/pic.js';
import { buildInterruptMachine, enableLapics, START_NS } from '../../../support/interrupt-machine.js';

const TPR = 0x80,
  EOI = 0xb0,
  LDR = 0xd0,
  DFR = 0xe0,
  SVR = 0xf0,
  ESR = 0x280,
  ICR = 0x300,
  ICR_HIGH = 0x310;
const LVT_TIMER = 0x320,
  LVT_LINT0 = 0x350,
  INITIAL = 0x380,
  CURRENT = 0x390,
  DIVIDE = 0x3e0;
const X2APIC = 0xfee0_0c00;

/** What SDM §11.8 says, in sets: the highest request above the processor's priority. */
class PriorityModel {
  readonly requested = new Set<number>();
  readonly service: number[] = [];
  tpr = 0;

  get ppr(): number {
    const top = Math.max(-1, ...this.service);
    return top >> 4 > this.tpr >> 4 ? top & 0xf0 : this.tpr;
  }

  get deliverable(): number {
    const top = Math.max(-1, ...this.requested);
    return top >> 4 > this.ppr >> 4 ? top : -1;
  }

  acknowledge(vector: number): void {
    this.requested.delete(vector);
    this.service.push(vector);
  }

  endOfInterrupt(): void {
    if (this.service.length === 0) return;
    this.service.splice(this.service.indexOf(Math.max(...this.service)), 1);
  }
}

type Step = { op: 'request'; vector: number } | { op: 'tpr'; value: number } | { op: 'take' } | { op: 'eoi' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constant('request' as const), vector: fc.integer({ min: 16, max: 255 }) }),
  fc.record({ op: fc.constant('tpr' as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ op: fc.constant('take' as const) }),
  fc.record({ op: fc.constant('eoi' as const) }),
);

describe('priorities', () => {
  test('requests, TPR, acknowledge and EOI agree with a model in sets', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = buildInterruptMachine(1);
        enableLapics(machine);
        const lapic = machine.lapics[0]!;
        const model = new PriorityModel();
        for (const action of steps) {
          switch (action.op) {
            case 'request':
              deliverMsi(machine.fabric, 0xfee0_0000, 0, action.vector);
              model.requested.add(action.vector);
              break;
            case 'tpr':
              lapic.mmioWrite(TPR, action.value);
              model.tpr = action.value;
              break;
            case 'take': {
              const vector = lapic.acknowledgeInterrupt();
              expect(vector).toBe(model.deliverable);
              if (vector >= 0) model.acknowledge(vector);
              break;
            }
            case 'eoi':
              lapic.mmioWrite(EOI, 0);
              model.endOfInterrupt();
          }
          expect(lapic.pendingVector()).toBe(model.deliverable);
          expect(lapic.mmioRead(0xa0)).toBe(model.ppr);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('whatever becomes deliverable by EOI or TPR is announced in PENDING', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    lapic.cr8 = 15;
    deliverMsi(machine.fabric, 0xfee0_0000, 0, 0x41);
    machine.takePending(0);
    expect(lapic.hasInterrupt()).toBe(false);
    lapic.cr8 = 0;
    expect(machine.takePending(0)).toBe(PENDING_INTERRUPT);
    expect(lapic.acknowledgeInterrupt()).toBe(0x41);
    deliverMsi(machine.fabric, 0xfee0_0000, 0, 0x42);
    machine.takePending(0);
    expect(lapic.hasInterrupt()).toBe(false);
    lapic.mmioWrite(EOI, 0);
    expect(machine.takePending(0)).toBe(PENDING_INTERRUPT);
    expect(lapic.acknowledgeInterrupt()).toBe(0x42);
  });
});

describe('IPIs', () => {
  test.each([
    ['physical', 0x0000_0031, 2, [2]],
    ['physical broadcast', 0x0000_0031, 0xff, [0, 1, 2, 3]],
    ['logical flat', 0x0000_0831, 0b1010, [1, 3]],
    ['self', 0x0004_0031, 0, [1]],
    ['all including self', 0x0008_0031, 0, [0, 1, 2, 3]],
    ['all excluding self', 0x000c_0031, 0, [0, 2, 3]],
    ['lowest priority', 0x0000_0931, 0b1110, [1]],
  ])('fixed, %s', (_, low, destination, receivers) => {
    const machine = buildInterruptMachine(4);
    enableLapics(machine);
    machine.lapics.forEach((lapic, i) => {
      lapic.mmioWrite(DFR, 0xffff_ffff);
      lapic.mmioWrite(LDR, 1 << (24 + i));
    });
    machine.lapics[1]!.mmioWrite(ICR_HIGH, destination << 24);
    machine.lapics[1]!.mmioWrite(ICR, low);
    const got = machine.lapics.flatMap((lapic, i) => (lapic.pendingVector() === 0x31 ? [i] : []));
    expect(got).toEqual(receivers);
  });

  test('logical cluster in the xAPIC', () => {
    const machine = buildInterruptMachine(4);
    enableLapics(machine);
    machine.lapics.forEach((lapic, i) => {
      lapic.mmioWrite(DFR, 0x0fff_ffff);
      lapic.mmioWrite(LDR, (((i >> 1) << 4) | (1 << (i & 1))) << 24);
    });
    machine.lapics[0]!.mmioWrite(ICR_HIGH, 0x12 << 24);
    machine.lapics[0]!.mmioWrite(ICR, 0x0831);
    expect(machine.lapics.map((lapic) => lapic.pendingVector())).toEqual([-1, -1, -1, 0x31]);
  });

  test('x2APIC: 32-bit physical, logical cluster, self', () => {
    const machine = buildInterruptMachine(3);
    enableLapics(machine);
    for (const lapic of machine.lapics) expect(lapic.setApicBase(X2APIC, 0)).toBe(true);
    const [first, second, third] = machine.lapics;
    first!.msrWrite(0x830, 0x40, 2);
    expect(third!.pendingVector()).toBe(0x40);
    first!.msrWrite(0x830, 0x841, 0b010);
    expect(second!.pendingVector()).toBe(0x41);
    expect(third!.pendingVector()).toBe(0x40);
    expect(second!.msrRead(0x80d) && second!.lo).toBe(0b010);
    first!.msrWrite(0x83f, 0x42, 0);
    expect(first!.pendingVector()).toBe(0x42);
    first!.msrWrite(0x830, 0x50, 0xffff_ffff);
    expect(machine.lapics.map((lapic) => lapic.pendingVector())).toEqual([0x50, 0x50, 0x50]);
  });

  test('INIT, SIPI and NMI reach disabled LAPICs as PENDING bits; INIT de-assert does nothing', () => {
    const machine = buildInterruptMachine(2);
    machine.lapics[1]!.setApicBase(0xfee0_0000, 0);
    const sender = machine.lapics[0]!;
    sender.mmioWrite(ICR, 0x000c_8500);
    expect(machine.takePending(1)).toBe(0);
    sender.mmioWrite(ICR, 0x000c_c500);
    expect(machine.takePending(1)).toBe(PENDING_INIT);
    sender.mmioWrite(ICR, 0x000c_4608);
    expect(machine.takePending(1)).toBe(PENDING_SIPI);
    expect(machine.fabric.words[machine.fabric.state[1]! + (SIPI_VECTOR >> 2)]).toBe(8);
    sender.mmioWrite(ICR_HIGH, 1 << 24);
    sender.mmioWrite(ICR, 0x0400);
    expect(machine.takePending(1)).toBe(PENDING_NMI);
    sender.mmioWrite(ICR, 0x0400);
    sender.mmioWrite(ICR, 0x0400);
    sender.mmioWrite(ICR, 0x0400);
    expect(machine.takePending(1)).toBe(PENDING_NMI | PENDING_NMI_AGAIN);
    expect(machine.takePending(0)).toBe(0);
  });

  test('an illegal vector is not sent and stands in ESR after a write of it', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    lapic.mmioWrite(ICR, 0x0004_0005);
    expect(lapic.mmioRead(ESR)).toBe(0);
    lapic.mmioWrite(ESR, 0);
    expect(lapic.mmioRead(ESR)).toBe(0x20);
    lapic.mmioWrite(ESR, 0);
    expect(lapic.mmioRead(ESR)).toBe(0);
  });
});

describe('modes', () => {
  test('a disabled LAPIC drops fixed interrupts; enabling it again finds power-on registers', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    lapic.mmioWrite(TPR, 0x70);
    expect(lapic.setApicBase(0xfee0_0000, 0)).toBe(true);
    expect(deliverMsi(machine.fabric, 0xfee0_0000, 0, 0x80)).toBe(false);
    expect(lapic.setApicBase(0xfee0_0800, 0)).toBe(true);
    expect(lapic.mmioRead(SVR)).toBe(0xff);
    expect(lapic.mmioRead(TPR)).toBe(0);
    expect(lapic.pendingVector()).toBe(-1);
    expect(deliverMsi(machine.fabric, 0xfee0_0000, 0, 0x80)).toBe(false);
    enableLapics(machine);
    expect(deliverMsi(machine.fabric, 0xfee0_0000, 0, 0x80)).toBe(true);
  });

  test('x2APIC transitions that #GP', () => {
    const lapic = buildInterruptMachine(1).lapics[0]!;
    expect(lapic.setApicBase(0xfee0_0400, 0)).toBe(false);
    expect(lapic.setApicBase(0xfee0_0801, 0)).toBe(false);
    expect(lapic.setApicBase(X2APIC, 0)).toBe(true);
    expect(lapic.setApicBase(0xfee0_0800, 0)).toBe(false);
    expect(lapic.setApicBase(0xfee0_0000, 0)).toBe(true);
    expect(lapic.setApicBase(X2APIC, 0)).toBe(false);
    expect(lapic.setApicBase(0xfee0_0800, 0)).toBe(true);
    expect(lapic.msrRead(0x802)).toBe(false);
  });

  test('x2APIC MSRs: reserved bits, read-only and missing registers #GP', () => {
    const lapic = buildInterruptMachine(1).lapics[0]!;
    lapic.setApicBase(X2APIC, 0);
    for (const index of [0x80e, 0x809, 0x80c, 0x831, 0x83f, 0x80b, 0x840])
      expect(lapic.msrRead(index)).toBe(false);
    for (const index of [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x839])
      expect(lapic.msrWrite(index, 0, 0)).toBe(false);
    expect(lapic.msrWrite(0x80b, 1, 0)).toBe(false);
    expect(lapic.msrWrite(0x80b, 0, 0)).toBe(true);
    expect(lapic.msrWrite(0x808, 0x100, 0)).toBe(false);
    expect(lapic.msrWrite(0x808, 0, 1)).toBe(false);
    expect(lapic.msrWrite(0x832, 1 << 19, 0)).toBe(false);
  });

  test('software disable masks every LVT entry and keeps it masked', () => {
    const lapic = buildInterruptMachine(1).lapics[0]!;
    lapic.mmioWrite(SVR, 0x1ff);
    lapic.mmioWrite(LVT_TIMER, 0x40);
    expect(lapic.mmioRead(LVT_TIMER)).toBe(0x40);
    lapic.mmioWrite(SVR, 0xff);
    expect(lapic.mmioRead(LVT_TIMER)).toBe(0x1_0040);
    lapic.mmioWrite(LVT_TIMER, 0x40);
    expect(lapic.mmioRead(LVT_TIMER)).toBe(0x1_0040);
  });
});

describe('timer', () => {
  test('one-shot counts down in bus clocks over the divider, fires once', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    lapic.mmioWrite(DIVIDE, 0x3); // 16
    lapic.mmioWrite(LVT_TIMER, 0x60);
    lapic.mmioWrite(INITIAL, 100_000);
    expect(machine.rings).toBe(1);
    expect(lapic.timer.deadlineNs).toBe(START_NS + 1_600_000);
    machine.clock.advanceMs(1);
    expect(lapic.mmioRead(CURRENT)).toBe(37_500);
    expect(lapic.timerExpired(machine.clock.nowNs())).toBe(false);
    machine.clock.advanceMs(1);
    expect(lapic.mmioRead(CURRENT)).toBe(0);
    expect(lapic.timerExpired(machine.clock.nowNs())).toBe(true);
    expect(lapic.acknowledgeInterrupt()).toBe(0x60);
    expect(lapic.timerExpired(machine.clock.nowNs())).toBe(false);
  });

  test('periodic keeps its phase and collapses missed periods', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    lapic.mmioWrite(DIVIDE, 0xb); // 1
    lapic.mmioWrite(LVT_TIMER, 0x2_0060);
    lapic.mmioWrite(INITIAL, 1_000_000);
    machine.clock.advanceMs(3.5);
    expect(lapic.timerExpired(machine.clock.nowNs())).toBe(true);
    expect(lapic.timer.deadlineNs).toBe(START_NS + 4e6);
    expect(lapic.acknowledgeInterrupt()).toBe(0x60);
    expect(lapic.acknowledgeInterrupt()).toBe(-1);
    lapic.mmioWrite(INITIAL, 0);
    expect(lapic.timer.deadlineNs).toBe(0);
  });

  test('TSC deadline: in TSC time, past fires at once, reads back until it fires', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const [lapic, msr] = [machine.lapics[0]!, machine.msrs[0]!];
    msr.write(0x6e0, 5, 0);
    expect(lapic.timer.deadlineNs).toBe(0);
    lapic.mmioWrite(LVT_TIMER, 0x4_0060);
    machine.clock.advanceMs(1);
    msr.write(0x6e0, 3_000_000, 0);
    expect(lapic.timer.deadlineNs).toBe(START_NS + 3e6);
    expect(msr.read(0x6e0) && msr.lo).toBe(3_000_000);
    machine.clock.advanceMs(2);
    lapic.timerExpired(machine.clock.nowNs());
    expect(lapic.acknowledgeInterrupt()).toBe(0x60);
    expect(msr.read(0x6e0) && msr.lo).toBe(0);
    lapic.mmioWrite(EOI, 0);
    msr.write(0x6e0, 1, 0);
    expect(lapic.acknowledgeInterrupt()).toBe(0x60);
  });

  test('a masked timer runs and says nothing', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    lapic.mmioWrite(DIVIDE, 0xb);
    lapic.mmioWrite(LVT_TIMER, 0x1_0060);
    lapic.mmioWrite(INITIAL, 1000);
    machine.clock.advanceMs(1);
    expect(lapic.timerExpired(machine.clock.nowNs())).toBe(true);
    expect(lapic.hasInterrupt()).toBe(false);
  });
});

describe('IOAPIC', () => {
  const program = (
    machine: ReturnType<typeof buildInterruptMachine>,
    pin: number,
    low: number,
    destination = 0,
  ) => {
    ioapicWrite(machine.fabric, 0, 0x11 + 2 * pin);
    ioapicWrite(machine.fabric, 0x10, destination << 24);
    ioapicWrite(machine.fabric, 0, 0x10 + 2 * pin);
    ioapicWrite(machine.fabric, 0x10, low);
  };
  const readLow = (machine: ReturnType<typeof buildInterruptMachine>, pin: number): number => {
    ioapicWrite(machine.fabric, 0, 0x10 + 2 * pin);
    return ioapicRead(machine.fabric, 0x10);
  };

  test('an edge interrupts once a rise, and is lost while masked', () => {
    const machine = buildInterruptMachine(2);
    enableLapics(machine);
    program(machine, 4, 0x1_0034, 1);
    setGsi(machine.fabric, 4, true);
    program(machine, 4, 0x34, 1);
    expect(machine.lapics[1]!.pendingVector()).toBe(-1);
    setGsi(machine.fabric, 4, true);
    expect(machine.lapics[1]!.pendingVector()).toBe(-1);
    setGsi(machine.fabric, 4, false);
    setGsi(machine.fabric, 4, true);
    expect(machine.lapics[1]!.acknowledgeInterrupt()).toBe(0x34);
    expect(machine.lapics[0]!.pendingVector()).toBe(-1);
    machine.lapics[1]!.mmioWrite(EOI, 0);
    expect(machine.lapics[1]!.pendingVector()).toBe(-1);
  });

  test('a level is sent once, again after EOI while high, and not after the last source let go', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    program(machine, 17, 0x8045);
    setGsi(machine.fabric, 17, true, 3);
    setGsi(machine.fabric, 17, true, 5);
    expect(readLow(machine, 17)).toBe(0xc045);
    expect(lapic.acknowledgeInterrupt()).toBe(0x45);
    expect(lapic.acknowledgeInterrupt()).toBe(-1);
    expect(lapic.mmioRead(0x180 + 0x20)).toBe(1 << 5); // TMR word 2
    setGsi(machine.fabric, 17, false, 3);
    lapic.mmioWrite(EOI, 0);
    expect(lapic.acknowledgeInterrupt()).toBe(0x45);
    setGsi(machine.fabric, 17, false, 5);
    lapic.mmioWrite(EOI, 0);
    expect(lapic.acknowledgeInterrupt()).toBe(-1);
    expect(readLow(machine, 17)).toBe(0x8045);
  });

  test('a vector that was level and comes as an edge is no level any more', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    program(machine, 17, 0x8045);
    setGsi(machine.fabric, 17, true);
    setGsi(machine.fabric, 17, false);
    expect(lapic.acknowledgeInterrupt()).toBe(0x45);
    lapic.mmioWrite(EOI, 0);
    deliverMsi(machine.fabric, 0xfee0_0000, 0, 0x45);
    expect(lapic.mmioRead(0x180 + 0x20)).toBe(0);
  });

  test('a high level line is sent when it is unmasked; a change to edge drops remote IRR', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    const lapic = machine.lapics[0]!;
    program(machine, 17, 0x1_8045);
    setGsi(machine.fabric, 17, true);
    expect(lapic.pendingVector()).toBe(-1);
    program(machine, 17, 0x8045);
    expect(lapic.acknowledgeInterrupt()).toBe(0x45);
    program(machine, 17, 0x1_0045);
    program(machine, 17, 0x1_8045);
    expect(readLow(machine, 17)).toBe(0x1_8045);
  });

  test('a level that nobody takes does not block its pin', () => {
    const machine = buildInterruptMachine(1);
    machine.lapics[0]!.mmioWrite(SVR, 0xff);
    program(machine, 17, 0x8045);
    setGsi(machine.fabric, 17, true);
    expect(readLow(machine, 17)).toBe(0x8045);
    enableLapics(machine);
    setGsi(machine.fabric, 17, true);
    expect(machine.lapics[0]!.pendingVector()).toBe(0x45);
  });

  test('version, id, and ISA IRQ 0 at pin 2', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    ioapicWrite(machine.fabric, 0, 1);
    expect(ioapicRead(machine.fabric, 0x10)).toBe(0x17_0020);
    program(machine, 2, 0x30);
    setIsaIrq(machine.fabric, 0, true);
    expect(machine.lapics[0]!.pendingVector()).toBe(0x30);
  });
});

describe('messages and the 8259', () => {
  test('an MSI outside 0xFEExxxxx goes nowhere', () => {
    const machine = buildInterruptMachine(1);
    enableLapics(machine);
    expect(deliverMsi(machine.fabric, 0xfed0_0000, 0, 0x40)).toBe(false);
    expect(deliverMsi(machine.fabric, 0xfee0_0000, 1, 0x40)).toBe(false);
    expect(machine.lapics[0]!.hasInterrupt()).toBe(false);
  });

  test('virtual wire: the 8259 comes by LINT0, past a disabled LAPIC, and not when LINT0 is masked', () => {
    const machine = buildInterruptMachine(2);
    for (const value of [0x11, 0x20, 0x04, 0x01])
      picWrite(machine.fabric, value === 0x11 ? 0x20 : 0x21, value);
    picWrite(machine.fabric, 0x21, 0xfd);
    const [lapic, other] = machine.lapics;
    setIsaIrq(machine.fabric, 1, true);
    expect(machine.takePending(0)).toBe(PENDING_INTERRUPT);
    expect(lapic!.hasInterrupt()).toBe(true);
    expect(other!.hasInterrupt()).toBe(false);
    lapic!.mmioWrite(SVR, 0x1ff);
    lapic!.mmioWrite(LVT_LINT0, 0x1_0700);
    expect(lapic!.hasInterrupt()).toBe(false);
    lapic!.setApicBase(0xfee0_0000, 0);
    expect(lapic!.acknowledgeInterrupt()).toBe(0x21);
    expect(lapic!.hasInterrupt()).toBe(false);
  });
});
