// The 8254 interval timer and port 61h, on the chipset page. Intel 8254 datasheet (231164). Nothing counts: a channel
// keeps the time at which its count started, and counts and outputs are computed from the clock. A new count takes
// effect at once in every mode (the chip waits for the end of a cycle in modes 2 and 3). Channel 1 (DRAM refresh)
// counts but drives nothing. All functions are called under the chipset lock.

import { type ChipsetPage, getDouble, getWord, setDouble, setWord } from '#shared/chipset/chipset-page.js';
import { PIT_CHANNELS, PIT_CHANNEL_BYTES, PIT_NEXT_EDGE, PIT_PORT61 } from '#shared/chipset/page-layout.js';

export const PIT_HZ = 1_193_182;
export const PIT_COUNTER0 = 0x40;
export const PIT_CONTROL = 0x43;
export const PORT_61 = 0x61;

/** The shortest time between two ticks that the host is asked for, whatever the guest programs. */
const MIN_PERIOD_NS = 20_000;

// Words of a channel.
/** f64, host ns: when the present count began; while the gate holds the count, how long it had run (HELD_NS). */
const START_NS = 0;
const HELD_NS = 8;
/** 1–65536; 0 before the first count. */
const COUNT = 16;
const MODE = 20;
/** 1 low byte, 2 high byte, 3 low then high. */
const ACCESS = 24;
const BCD = 28;
/** With ACCESS 3: the low byte is written and waits (bit 8 set). */
const WRITE_LOW = 32;
/** With ACCESS 3: 1 when the high byte is read next. */
const READ_HIGH = 36;
/** Count latched: bit 16 set. */
const LATCH = 40;
/** Status latched: bit 8 set. */
const STATUS_LATCH = 44;
const GATE = 48;

const NS_PER_TICK = 1e9 / PIT_HZ;

/** Power-on: nothing counts; the gates of channels 0 and 1 are wired high. */
export function resetPit(page: ChipsetPage): void {
  for (let channel = 0; channel < 3; channel++) {
    const at = base(channel);
    for (let word = 0; word < PIT_CHANNEL_BYTES; word += 4) setWord(page, at + word, 0);
    setWord(page, at + ACCESS, 3);
    setWord(page, at + MODE, 3);
    setWord(page, at + GATE, channel === 2 ? 0 : 1);
  }
  setWord(page, PIT_PORT61, 0);
  setDouble(page, PIT_NEXT_EDGE, Infinity);
}

/** A byte read of ports 40h–42h (43h reads nothing). */
export function pitRead(page: ChipsetPage, port: number, nowNs: number): number {
  if (port === PIT_CONTROL) return 0xff;
  const at = base(port - PIT_COUNTER0);
  const status = getWord(page, at + STATUS_LATCH);
  if (status !== 0) {
    setWord(page, at + STATUS_LATCH, 0);
    return status & 0xff;
  }
  const latch = getWord(page, at + LATCH);
  const value = latch !== 0 ? latch & 0xffff : readCount(page, at, nowNs);
  const access = getWord(page, at + ACCESS);
  const high = access === 2 || (access === 3 && getWord(page, at + READ_HIGH) !== 0);
  if (access === 3) setWord(page, at + READ_HIGH, high ? 0 : 1);
  if (access !== 3 || high) setWord(page, at + LATCH, 0);
  return high ? value >> 8 : value & 0xff;
}

/** A byte write of ports 40h–43h. The caller sets channel 0's line to {@link pitOutput} and looks at PIT_NEXT_EDGE. */
export function pitWrite(page: ChipsetPage, port: number, value: number, nowNs: number): void {
  if (port === PIT_CONTROL) writeControl(page, value, nowNs);
  else writeCounter(page, base(port - PIT_COUNTER0), value, nowNs);
  if (port === PIT_COUNTER0 || port === PIT_CONTROL) updateNextEdge(page, nowNs);
}

/** Port 61h: gate 2 and speaker as written, the refresh toggle, and channel 2's output. */
export function readPort61(page: ChipsetPage, nowNs: number): number {
  const refresh = Math.floor(nowNs / 15_085) & 1;
  const output = pitOutput(page, 2, nowNs) ? 1 : 0;
  return (getWord(page, PIT_PORT61) & 0xf) | (refresh << 4) | (output << 5);
}

export function writePort61(page: ChipsetPage, value: number, nowNs: number): void {
  setWord(page, PIT_PORT61, value & 0xf);
  setGate(page, base(2), value & 1, nowNs);
}

/** OUT of a channel. */
export function pitOutput(page: ChipsetPage, channel: number, nowNs: number): boolean {
  const at = base(channel);
  const mode = getWord(page, at + MODE);
  const count = getWord(page, at + COUNT);
  if (count === 0) return mode !== 0;
  const ticks = elapsedTicks(page, at, nowNs);
  switch (mode) {
    case 0:
    case 1:
      return ticks >= count;
    case 2:
      return getWord(page, at + GATE) === 0 || ticks % count !== count - 1;
    case 3:
      return getWord(page, at + GATE) === 0 || ticks % count < (count + 1) >> 1;
    default:
      return ticks !== count;
  }
}

/** Takes an edge of channel 0 that has come: true when there was one. The caller pulses IRQ 0. */
export function takePitEdge(page: ChipsetPage, nowNs: number): boolean {
  if (nowNs < getDouble(page, PIT_NEXT_EDGE)) return false;
  updateNextEdge(page, nowNs);
  return true;
}

/** Sets PIT_NEXT_EDGE to channel 0's first rising edge after `nowNs`. */
function updateNextEdge(page: ChipsetPage, nowNs: number): void {
  const at = base(0);
  const count = getWord(page, at + COUNT);
  const mode = getWord(page, at + MODE);
  const startNs = getDouble(page, at + START_NS);
  let edge = Infinity;
  if (count !== 0 && (mode === 2 || mode === 3)) {
    const periodNs = count * NS_PER_TICK;
    const periods = Math.floor((nowNs - startNs) / periodNs) + 1;
    edge = Math.max(startNs + periods * periodNs, nowNs + MIN_PERIOD_NS);
  } else if (count !== 0 && (mode === 0 || mode === 4)) {
    const once = startNs + (count + (mode === 4 ? 1 : 0)) * NS_PER_TICK;
    if (once > nowNs) edge = once;
  }
  setDouble(page, PIT_NEXT_EDGE, edge);
}

/** The counter's value as the guest reads it, BCD applied. */
function readCount(page: ChipsetPage, at: number, nowNs: number): number {
  const count = getWord(page, at + COUNT);
  if (count === 0) return 0;
  const ticks = elapsedTicks(page, at, nowNs);
  const modulus = getWord(page, at + BCD) !== 0 ? 10_000 : 0x1_0000;
  let value: number;
  switch (getWord(page, at + MODE)) {
    case 2:
      value = count - (ticks % count);
      break;
    case 3:
      value = count - ((2 * (ticks % count)) % count);
      break;
    default:
      value = (((count - ticks) % modulus) + modulus) % modulus;
  }
  value %= modulus;
  return modulus === 10_000 ? toBcd(value) : value;
}

function writeControl(page: ChipsetPage, value: number, nowNs: number): void {
  const select = value >> 6;
  if (select === 3) return readBack(page, value, nowNs);
  const at = base(select);
  const access = (value >> 4) & 3;
  if (access === 0) return latchCount(page, at, nowNs);
  const mode = (value >> 1) & 7;
  setWord(page, at + ACCESS, access);
  setWord(page, at + MODE, mode > 5 ? mode - 4 : mode);
  setWord(page, at + BCD, value & 1);
  for (const word of [COUNT, WRITE_LOW, READ_HIGH, LATCH, STATUS_LATCH]) setWord(page, at + word, 0);
  setDouble(page, at + HELD_NS, 0);
}

/** Read-back: bits 3:1 choose channels, bit 5 clear latches counts, bit 4 clear latches status. */
function readBack(page: ChipsetPage, value: number, nowNs: number): void {
  for (let channel = 0; channel < 3; channel++) {
    if ((value & (2 << channel)) === 0) continue;
    const at = base(channel);
    if ((value & 0x20) === 0) latchCount(page, at, nowNs);
    if ((value & 0x10) !== 0 || getWord(page, at + STATUS_LATCH) !== 0) continue;
    const output = pitOutput(page, channel, nowNs) ? 0x80 : 0;
    const noCount = getWord(page, at + COUNT) === 0 ? 0x40 : 0;
    const control =
      (getWord(page, at + ACCESS) << 4) | (getWord(page, at + MODE) << 1) | getWord(page, at + BCD);
    setWord(page, at + STATUS_LATCH, 0x100 | output | noCount | control);
  }
}

function latchCount(page: ChipsetPage, at: number, nowNs: number): void {
  if (getWord(page, at + LATCH) !== 0) return;
  setWord(page, at + LATCH, 0x1_0000 | readCount(page, at, nowNs));
}

function writeCounter(page: ChipsetPage, at: number, value: number, nowNs: number): void {
  const access = getWord(page, at + ACCESS);
  if (access === 1) return loadCount(page, at, value, nowNs);
  if (access === 2) return loadCount(page, at, value << 8, nowNs);
  const low = getWord(page, at + WRITE_LOW);
  setWord(page, at + WRITE_LOW, low === 0 ? 0x100 | value : 0);
  if (low !== 0) loadCount(page, at, (low & 0xff) | (value << 8), nowNs);
}

function loadCount(page: ChipsetPage, at: number, raw: number, nowNs: number): void {
  const isBcd = getWord(page, at + BCD) !== 0;
  const value = isBcd ? fromBcd(raw) : raw;
  setWord(page, at + COUNT, value !== 0 ? value : isBcd ? 10_000 : 0x1_0000);
  setDouble(page, at + START_NS, nowNs);
  const mode = getWord(page, at + MODE);
  // Modes 1 and 5 wait for a rising gate: until then their output is as after the terminal count.
  setDouble(page, at + HELD_NS, 0);
  if (mode === 1 || mode === 5) setDouble(page, at + START_NS, -Infinity);
}

/** The gate holds the count in modes 0 and 4, restarts it in the others. */
function setGate(page: ChipsetPage, at: number, gate: number, nowNs: number): void {
  if (getWord(page, at + GATE) === gate) return;
  const mode = getWord(page, at + MODE);
  const holds = mode === 0 || mode === 4;
  if (gate === 0) {
    if (holds) setDouble(page, at + HELD_NS, nowNs - getDouble(page, at + START_NS));
  } else {
    setDouble(page, at + START_NS, holds ? nowNs - getDouble(page, at + HELD_NS) : nowNs);
  }
  setWord(page, at + GATE, gate);
}

function elapsedTicks(page: ChipsetPage, at: number, nowNs: number): number {
  const mode = getWord(page, at + MODE);
  const triggered = mode === 1 || mode === 5;
  if (getWord(page, at + GATE) === 0 && !triggered) {
    return Math.floor(getDouble(page, at + HELD_NS) / NS_PER_TICK);
  }
  const startNs = getDouble(page, at + START_NS);
  if (startNs === -Infinity) return getWord(page, at + COUNT) + 1;
  return Math.max(0, Math.floor((nowNs - startNs) / NS_PER_TICK));
}

function base(channel: number): number {
  return PIT_CHANNELS + channel * PIT_CHANNEL_BYTES;
}

function toBcd(value: number): number {
  let bcd = 0;
  for (let shift = 0, rest = value; shift < 16; shift += 4, rest = Math.floor(rest / 10))
    bcd |= (rest % 10) << shift;
  return bcd;
}

function fromBcd(bcd: number): number {
  let value = 0;
  for (let shift = 12; shift >= 0; shift -= 4) value = value * 10 + ((bcd >> shift) & 15);
  return value;
}
