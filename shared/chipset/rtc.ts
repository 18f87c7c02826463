// The MC146818 clock and its CMOS RAM (ports 70h and 71h), on the chipset page. Motorola MC146818A datasheet; the century
// byte is at 32h, as FADT says. The time is the host's UTC plus an offset that moves when the guest sets the clock.
// Leaves out the square wave and daylight saving. All functions are called under the chipset lock.

import { RTC_CENTURY } from '#shared/acpi/platform.js';
import { type ChipsetPage, getDouble, setDouble } from '#shared/chipset/chipset-page.js';
import { RTC_CMOS, RTC_LAST_EVENT_NS, RTC_OFFSET_NS } from '#shared/chipset/page-layout.js';

const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const DAY_OF_WEEK = 0x06;
const DAY_OF_MONTH = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;

const A_UIP = 0x80;
const B_SET = 0x80;
const B_PIE = 0x40;
const B_AIE = 0x20;
const B_UIE = 0x10;
const B_DM = 0x04;
const B_24H = 0x02;
const C_IRQF = 0x80;
const C_PF = 0x40;
const C_AF = 0x20;
const C_UF = 0x10;
const D_VRT = 0x80;

/** UIP is set this long before an update. */
const UPDATE_NS = 244_141;
const SECOND_NS = 1e9;

/** Power-on: 24 hours, BCD, no interrupts, in step with the host. */
export function resetRtc(page: ChipsetPage, wallNs: number): void {
  page.bytes.fill(0, RTC_CMOS, RTC_CMOS + 128);
  setByte(page, REGISTER_A, 0x26);
  setByte(page, REGISTER_B, B_24H);
  setByte(page, REGISTER_D, D_VRT);
  setDouble(page, RTC_OFFSET_NS, 0);
  setDouble(page, RTC_LAST_EVENT_NS, wallNs);
}

/** Reads a register of CMOS RAM. A read of register C drops its flags: the caller then lowers IRQ 8. */
export function rtcRead(page: ChipsetPage, index: number, wallNs: number): number {
  if (isTimeRegister(index)) {
    if ((getByte(page, REGISTER_B) & B_SET) === 0) storeTime(page, wallNs);
    return getByte(page, index);
  }
  if (index === REGISTER_A) return getByte(page, REGISTER_A) | (isUpdating(page, wallNs) ? A_UIP : 0);
  if (index === REGISTER_C) {
    rtcUpdate(page, wallNs);
    const flags = getByte(page, REGISTER_C);
    setByte(page, REGISTER_C, 0);
    return flags;
  }
  return getByte(page, index);
}

/** Writes a register of CMOS RAM. */
export function rtcWrite(page: ChipsetPage, index: number, value: number, wallNs: number): void {
  const was = getByte(page, REGISTER_B);
  if (isTimeRegister(index)) {
    if ((was & B_SET) === 0) storeTime(page, wallNs);
    setByte(page, index, value);
    if ((was & B_SET) === 0) loadTime(page, wallNs);
    return;
  }
  switch (index) {
    case REGISTER_A:
      setByte(page, REGISTER_A, value & 0x7f);
      return;
    case REGISTER_B:
      rtcUpdate(page, wallNs);
      if ((value & B_SET) !== 0 && (was & B_SET) === 0) storeTime(page, wallNs);
      setByte(page, REGISTER_B, (value & B_SET) !== 0 ? value & ~B_UIE : value);
      if ((value & B_SET) === 0 && (was & B_SET) !== 0) loadTime(page, wallNs);
      rtcUpdate(page, wallNs);
      return;
    case REGISTER_C:
    case REGISTER_D:
      return;
    default:
      setByte(page, index, value);
  }
}

/** Brings register C up to date; true while the interrupt line is to be high. */
export function rtcUpdate(page: ChipsetPage, wallNs: number): boolean {
  const now = wallNs + getDouble(page, RTC_OFFSET_NS);
  const last = getDouble(page, RTC_LAST_EVENT_NS);
  const b = getByte(page, REGISTER_B);
  let c = getByte(page, REGISTER_C);
  const period = periodNs(page);
  if (period !== Infinity && Math.floor(now / period) !== Math.floor(last / period)) c |= C_PF;
  if ((b & B_SET) === 0 && Math.floor(now / SECOND_NS) !== Math.floor(last / SECOND_NS)) {
    c |= C_UF;
    storeTime(page, wallNs);
    if (matchesAlarm(page)) c |= C_AF;
  }
  setDouble(page, RTC_LAST_EVENT_NS, now);
  // The enable bits of B stand at the same places as the flags of C.
  if ((b & c & (B_PIE | B_AIE | B_UIE)) !== 0) c |= C_IRQF;
  else c &= ~C_IRQF;
  setByte(page, REGISTER_C, c);
  return (c & C_IRQF) !== 0;
}

/** Wall ns until the next event that could interrupt; Infinity when none can before register C is read. */
export function rtcNextEventNs(page: ChipsetPage, wallNs: number): number {
  const b = getByte(page, REGISTER_B);
  if ((getByte(page, REGISTER_C) & C_IRQF) !== 0) return Infinity;
  const now = wallNs + getDouble(page, RTC_OFFSET_NS);
  let next = Infinity;
  if ((b & (B_AIE | B_UIE)) !== 0 && (b & B_SET) === 0) next = SECOND_NS - (now % SECOND_NS);
  const period = periodNs(page);
  if ((b & B_PIE) !== 0 && period !== Infinity) next = Math.min(next, period - (now % period));
  return next;
}

function isTimeRegister(index: number): boolean {
  if (index === RTC_CENTURY) return true;
  return index <= YEAR && index !== SECONDS_ALARM && index !== MINUTES_ALARM && index !== HOURS_ALARM;
}

function isUpdating(page: ChipsetPage, wallNs: number): boolean {
  if ((getByte(page, REGISTER_B) & B_SET) !== 0) return false;
  return (wallNs + getDouble(page, RTC_OFFSET_NS)) % SECOND_NS >= SECOND_NS - UPDATE_NS;
}

/** Rates 1 and 2 are those of 8 and 9. */
function periodNs(page: ChipsetPage): number {
  const rate = getByte(page, REGISTER_A) & 15;
  if (rate === 0) return Infinity;
  return (SECOND_NS / 32_768) * (1 << ((rate < 3 ? rate + 7 : rate) - 1));
}

/** Puts the present time into the registers. */
function storeTime(page: ChipsetPage, wallNs: number): void {
  const date = new Date((wallNs + getDouble(page, RTC_OFFSET_NS)) / 1e6);
  const year = date.getUTCFullYear();
  setField(page, SECONDS, date.getUTCSeconds());
  setField(page, MINUTES, date.getUTCMinutes());
  setHours(page, date.getUTCHours());
  setField(page, DAY_OF_WEEK, date.getUTCDay() + 1);
  setField(page, DAY_OF_MONTH, date.getUTCDate());
  setField(page, MONTH, date.getUTCMonth() + 1);
  setField(page, YEAR, year % 100);
  setField(page, RTC_CENTURY, Math.floor(year / 100));
}

/** Takes the time that stands in the registers. */
function loadTime(page: ChipsetPage, wallNs: number): void {
  const year = getField(page, RTC_CENTURY) * 100 + getField(page, YEAR);
  const utcMs = Date.UTC(
    year,
    getField(page, MONTH) - 1,
    getField(page, DAY_OF_MONTH),
    getHours(page),
    getField(page, MINUTES),
    getField(page, SECONDS),
  );
  setDouble(page, RTC_OFFSET_NS, utcMs * 1e6 - wallNs);
  setDouble(page, RTC_LAST_EVENT_NS, utcMs * 1e6);
}

/** An alarm byte of 11xxxxxx matches anything. */
function matchesAlarm(page: ChipsetPage): boolean {
  const matches = (alarm: number, time: number): boolean =>
    getByte(page, alarm) >= 0xc0 || getByte(page, alarm) === getByte(page, time);
  return matches(SECONDS_ALARM, SECONDS) && matches(MINUTES_ALARM, MINUTES) && matches(HOURS_ALARM, HOURS);
}

function setHours(page: ChipsetPage, hours: number): void {
  if ((getByte(page, REGISTER_B) & B_24H) !== 0) return setField(page, HOURS, hours);
  setField(page, HOURS, hours % 12 === 0 ? 12 : hours % 12);
  if (hours >= 12) setByte(page, HOURS, getByte(page, HOURS) | 0x80);
}

function getHours(page: ChipsetPage): number {
  if ((getByte(page, REGISTER_B) & B_24H) !== 0) return getField(page, HOURS);
  const raw = getByte(page, HOURS);
  return (fromRegister(page, raw & 0x7f) % 12) + ((raw & 0x80) !== 0 ? 12 : 0);
}

function setField(page: ChipsetPage, index: number, value: number): void {
  const isBinary = (getByte(page, REGISTER_B) & B_DM) !== 0;
  setByte(page, index, isBinary ? value : (Math.floor(value / 10) << 4) | (value % 10));
}

function getField(page: ChipsetPage, index: number): number {
  return fromRegister(page, getByte(page, index));
}

function fromRegister(page: ChipsetPage, raw: number): number {
  return (getByte(page, REGISTER_B) & B_DM) !== 0 ? raw : (raw >> 4) * 10 + (raw & 15);
}

function getByte(page: ChipsetPage, index: number): number {
  return page.bytes[RTC_CMOS + index]!;
}

function setByte(page: ChipsetPage, index: number, value: number): void {
  page.bytes[RTC_CMOS + index] = value;
}
