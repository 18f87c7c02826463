import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatArena, planArena, type MachinePlan } from '#kernel/arena-plan.js';
import type { Region } from '#shared/base/region.js';
import { BusClient, SPACE_MMIO } from '#shared/ipc/register-bus.js';
import { MailboxReceiver } from '#shared/ipc/mailbox.js';
import { viewArena } from '#shared/memory/arena.js';
import type { MachineLayout } from '#shared/memory/machine-layout.js';
import type { PciFunctionPlan } from '#shared/pci/function-plan.js';

const MIB = 2 ** 20;

function device(actor: string, barBytes: number, is64: boolean): PciFunctionPlan {
  return {
    actor,
    config: new Uint8Array(256).fill(0x11, 0, 2),
    writeMask: new Uint8Array(256),
    msixBytes: 4096,
    bars: [{ index: 2, bytes: barBytes, is64 }],
    windows: [
      { bar: 2, offset: 0, length: 0x400, base: 0x8000, write: 'posted' },
      {
        bar: 2,
        offset: 0x400,
        length: 0x400,
        base: 0,
        write: 'posted',
        doorbell: { pending: 16, stride: 4 },
      },
      { bar: 2, offset: 0x800, length: 0x800, base: 0, write: 'posted', msixOffset: 0 },
    ],
  };
}

function regionsOf(layout: MachineLayout): Region[] {
  const { ram } = layout;
  return [
    ...Object.values(layout.actors).flatMap((a) => Object.values(a) as Region[]),
    ...layout.vcpus.flatMap((v) => Object.values(v) as Region[]),
    ...(Object.values(layout.shared) as Region[]),
    ...Object.values(layout.mailboxes),
    ...layout.pci.flatMap((p) => [p.config, p.writeMask, p.msix]),
    { offset: ram.ramOffset, bytes: ram.lowBytes + ram.highBytes },
  ];
}

const plans: fc.Arbitrary<MachinePlan> = fc.record({
  vcpus: fc.integer({ min: 1, max: 64 }),
  ramBytes: fc.integer({ min: 16, max: 2048 }).map((n) => n * MIB),
  actors: fc.constant(['a', 'b']),
  mailboxes: fc.constant([{ from: 'kernel', to: 'a', entries: 16, payloadBytes: 4080 }]),
  windows: fc.constant([]),
  pci: fc
    .array(fc.tuple(fc.constantFrom(4096, 16384, MIB), fc.boolean()), { maxLength: 20 })
    .map((bars) => bars.map(([bytes, is64]) => device('b', bytes, is64))),
});

describe('planArena', () => {
  it('gives every part its own bytes, inside the arena, and no two BARs the same address', () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const { layout } = planArena(plan);
        const regions = regionsOf(layout).sort((a, b) => a.offset - b.offset);
        expect(regions[0]!.offset).toBeGreaterThan(0);
        for (let i = 1; i < regions.length; i++) {
          expect(regions[i]!.offset).toBeGreaterThanOrEqual(regions[i - 1]!.offset + regions[i - 1]!.bytes);
        }
        expect(regions.at(-1)!.offset + regions.at(-1)!.bytes).toBeLessThanOrEqual(layout.arenaBytes);
        const bars = layout.pci.flatMap((p) => p.bars).sort((a, b) => a.address - b.address);
        bars.forEach((bar, i) => {
          expect(bar.address % bar.bytes).toBe(0);
          if (i > 0) expect(bar.address).toBeGreaterThanOrEqual(bars[i - 1]!.address + bars[i - 1]!.bytes);
        });
      }),
      { numRuns: 60 },
    );
  });

  it('refuses memory that does not fit, and says how much does', () => {
    const plan = { vcpus: 2, ramBytes: 4096 * MIB, actors: [], mailboxes: [], windows: [], pci: [] };
    expect(() => planArena(plan)).toThrow(/do not fit beside 2 vCPUs/);
  });
});

describe('formatArena', () => {
  it('routes the bus to a BAR wherever the guest moves it', () => {
    const pci = [device('a', 16384, true)];
    const planned = planArena({
      vcpus: 1,
      ramBytes: 16 * MIB,
      actors: ['a'],
      mailboxes: [],
      windows: [],
      pci,
    });
    const { layout } = planned;
    const v = viewArena({ buffer: new SharedArrayBuffer(layout.arenaBytes) });
    formatArena(v, planned, pci);
    const bus = new BusClient(v, layout, 0);
    const receiver = new MailboxReceiver(v, layout.mailboxes['vcpu-0->a']!);
    const config = new DataView(v.buffer, layout.pci[0]!.config.offset);
    const { address } = layout.pci[0]!.bars[0]!;

    bus.write(SPACE_MMIO, address + 8, 4, 77, 0);
    const payload = receiver.peek() >>> 2;
    expect([v.u32[payload], v.u32[payload + 1], v.u32[payload + 2]]).toEqual([0x8008, 4, 77]);
    receiver.complete();

    bus.write(SPACE_MMIO, address + 0x400 + 4 * 5, 2, 5, 0);
    expect(v.i32[(layout.actors['a']!.registerPage.offset + 16) >>> 2]).toBe(1 << 5);
    expect(v.i32[layout.actors['a']!.doorbell.offset >>> 2]).not.toBe(0);

    bus.write(SPACE_MMIO, address + 0x80c, 4, 0xfee0_0000, 0);
    bus.read(SPACE_MMIO, address + 0x80c, 4);
    expect(bus.lo).toBe(0xfee0_0000);
    expect(v.u32[(layout.pci[0]!.msix.offset + 12) >>> 2]).toBe(0xfee0_0000);

    config.setUint32(0x18, 0xd000_0004, true);
    bus.read(SPACE_MMIO, address + 0x80c, 4);
    expect(bus.lo).toBe(0xffff_ffff);
    bus.read(SPACE_MMIO, 0xd000_080c, 4);
    expect(bus.lo).toBe(0xfee0_0000);

    config.setUint16(4, 0, true); // no memory decoding
    bus.read(SPACE_MMIO, 0xd000_080c, 4);
    expect(bus.lo).toBe(0xffff_ffff);
    expect(receiver.peek()).toBe(-1);
  });
});
