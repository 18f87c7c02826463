import { describe, expect, test } from 'vitest';
import { getDouble, getWord } from '#shared/chipset/chipset-page.js';
import { CHIPSET_LOCK, PIT_NEXT_EDGE } from '#shared/chipset/page-layout.js';
import { breakChipsetLock, lockChipset, unlockChipset, vcpuLockOwner } from '#shared/x86/chipset-lock.js';
import { createChipsetPorts } from '#shared/x86/chipset-ports.js';
import { ioapicWrite } from '#shared/x86/ioapic-page.js';
import { buildInterruptMachine, enableLapics, START_NS } from '../../../support/interrupt-machine.js';

const RAM_BYTES = 0x1_2345_0000;

function build(debugExit = false) {
  const machine = buildInterruptMachine(1);
  const events: string[] = [];
  const hooks = {
    nowNs: () => machine.clock.nowNs(),
    wallNs: () => machine.wallNs,
    ringTicker: () => void machine.rings++,
    powerOff: () => void events.push('power-off'),
    reset: () => void events.push('reset'),
    debugExit: (value: number) => void events.push(`exit ${value}`),
  };
  const ports = createChipsetPorts(machine.fabric, vcpuLockOwner(0), hooks, {
    debugExit,
    ramBytes: RAM_BYTES,
  });
  return { machine, ports, events };
}

describe('ways to end', () => {
  test('S5 with SLP_EN powers off; other sleep types and no SLP_EN do not', () => {
    const { ports, events } = build();
    ports.portWrite(0x604, 2, 5 << 10);
    ports.portWrite(0x604, 2, (1 << 13) | (3 << 10));
    expect(events).toEqual([]);
    ports.portWrite(0x604, 2, (1 << 13) | (5 << 10));
    expect(events).toEqual(['power-off']);
    expect(ports.portRead(0x604, 2) & (1 << 13)).toBe(0);
  });

  test.each([
    ['CF9h', 0xcf9, [0x02, 0x06]],
    ['the 8042 pulse', 0x64, [0xfe]],
    ['port 92h', 0x92, [0x01]],
  ])('reset by %s', (_, port, values) => {
    const { ports, events } = build();
    expect(ports.covers(port, 1)).toBe(true);
    for (const value of values) ports.portWrite(port, 1, value);
    expect(events).toEqual(['reset']);
  });

  test('isa-debug-exit is there on request only, and CONFIG_ADDRESS is not ours', () => {
    expect(build().ports.covers(0xf4, 1)).toBe(false);
    const { ports, events } = build(true);
    expect(ports.covers(0xf4, 4)).toBe(true);
    ports.portWrite(0xf4, 4, 0x10);
    expect(events).toEqual(['exit 16']);
    expect(ports.covers(0xcf8, 4)).toBe(false);
    expect(ports.covers(0xcf9, 4)).toBe(false);
    expect(ports.covers(0x3f8, 1)).toBe(false);
  });
});

describe('fw_cfg', () => {
  test.each([
    ['signature', 0, [0x51, 0x45, 0x4d, 0x55]],
    ['RAM size', 3, [0, 0, 0x45, 0x23, 1, 0, 0, 0, 0]],
    ['processors', 5, [1, 0]],
    ['an item that is not there', 0x11, [0, 0, 0, 0]],
  ])('%s', (_, key, bytes) => {
    const { ports } = build();
    ports.portWrite(0x510, 2, 0);
    ports.portRead(0x511, 1);
    ports.portWrite(0x510, 2, key);
    expect(bytes.map(() => ports.portRead(0x511, 1))).toEqual(bytes);
  });
});

describe('ACPI', () => {
  test('SCI_EN reads 1; status is cleared by ones; enables keep what exists', () => {
    const { ports } = build();
    expect(ports.portRead(0x604, 2)).toBe(1);
    ports.portWrite(0x602, 2, 0xffff);
    expect(ports.portRead(0x602, 2)).toBe(0x0721);
    expect(ports.portRead(0x600, 4)).toBe(0x0721_0000);
  });

  test('the PM timer counts 3.579545 MHz from the start', () => {
    const { machine, ports } = build();
    expect(ports.portRead(0x608, 4)).toBe(0);
    machine.clock.advanceMs(10_000);
    expect(ports.portRead(0x608, 4)).toBe(35_795_450);
    machine.clock.advanceMs(1200_000);
    expect(ports.portRead(0x608, 4)).toBe((35_795_450 + 1200 * 3_579_545) % 2 ** 32);
  });
});

describe('old devices', () => {
  test('PIT: a word write is two byte writes; the ticker is rung; OUT drives IRQ 0', () => {
    const { machine, ports } = build();
    enableLapics(machine);
    ioapicWrite(machine.fabric, 0, 0x14);
    ioapicWrite(machine.fabric, 0x10, 0x30);
    ports.portWrite(0x43, 1, 0x30);
    expect(machine.lapics[0]!.pendingVector()).toBe(-1);
    ports.portWrite(0x40, 1, 0xe8);
    ports.portWrite(0x40, 1, 0x03);
    expect(machine.rings).toBe(1);
    expect(getDouble(machine.page, PIT_NEXT_EDGE)).toBeGreaterThan(START_NS);
    ports.portWrite(0x43, 1, 0x34); // OUT rises with the mode
    expect(machine.lapics[0]!.pendingVector()).toBe(0x30);
  });

  test('RTC: index, data, and IRQ 8 until C is read', () => {
    const { machine, ports } = build();
    enableLapics(machine);
    ioapicWrite(machine.fabric, 0, 0x20);
    ioapicWrite(machine.fabric, 0x10, 0x38);
    ports.portWrite(0x70, 1, 0x84);
    expect(ports.portRead(0x71, 1)).toBe(0x12);
    ports.portWrite(0x70, 2, 0x120b);
    expect(machine.rings).toBe(1);
    machine.wallNs += 1e9;
    ports.portWrite(0x70, 1, 0x0d);
    ports.portRead(0x71, 1);
    expect(machine.lapics[0]!.pendingVector()).toBe(0x38);
    ports.portWrite(0x70, 1, 0x0c);
    expect(ports.portRead(0x71, 1) & 0x90).toBe(0x90);
    expect(ports.portRead(0x71, 1)).toBe(0);
  });

  test('8042: self test, configuration, a keyboard that acknowledges', () => {
    const { ports } = build();
    expect(ports.portRead(0x64, 1) & 3).toBe(0);
    ports.portWrite(0x64, 1, 0xaa);
    expect(ports.portRead(0x64, 1) & 1).toBe(1);
    expect(ports.portRead(0x60, 1)).toBe(0x55);
    expect(ports.portRead(0x64, 1) & 1).toBe(0);
    ports.portWrite(0x64, 1, 0x60);
    ports.portWrite(0x60, 1, 0x47);
    ports.portWrite(0x64, 1, 0x20);
    expect(ports.portRead(0x60, 1)).toBe(0x47);
    ports.portWrite(0x60, 1, 0xf2);
    expect([0, 1, 2].map(() => ports.portRead(0x60, 1))).toEqual([0xfa, 0xab, 0x83]);
    expect(ports.portRead(0x64, 1) & 1).toBe(0);
  });

  test('8259 ports, ELCR, POST codes', () => {
    const { ports } = build();
    ports.portWrite(0x21, 1, 0x5a);
    expect(ports.portRead(0x21, 1)).toBe(0x5a);
    ports.portWrite(0x4d0, 2, 0xffff);
    expect(ports.portRead(0x4d0, 2)).toBe(0xdef8);
    ports.portWrite(0x80, 1, 1);
    expect(ports.portRead(0x80, 1)).toBe(0xff);
  });
});

describe('the lock', () => {
  test('is free after an access', () => {
    const { machine, ports } = build();
    ports.portRead(0x61, 1);
    expect(getWord(machine.page, CHIPSET_LOCK)).toBe(0);
  });

  test('is taken from the dead only', () => {
    const { machine } = build();
    lockChipset(machine.fabric, vcpuLockOwner(3));
    expect(breakChipsetLock(machine.fabric, vcpuLockOwner(2))).toBe(false);
    expect(breakChipsetLock(machine.fabric, vcpuLockOwner(3))).toBe(true);
    lockChipset(machine.fabric, vcpuLockOwner(0));
    unlockChipset(machine.fabric);
    expect(getWord(machine.page, CHIPSET_LOCK)).toBe(0);
  });
});
