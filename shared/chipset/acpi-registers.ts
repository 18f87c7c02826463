// The ACPI fixed hardware on the chipset page: PM1 event and control, the PM timer. ACPI 6.5 §4.8.3. The machine is always
// in ACPI mode: SCI_EN reads 1. Leaves out the timer's carry interrupt and sleep states other than S5.
// All functions are called under the chipset lock; after a write the caller drives SCI by {@link isSciAsserted}.

import * as A from '#shared/acpi/platform.js';
import { type ChipsetPage, getDouble, getWord, setWord } from '#shared/chipset/chipset-page.js';
import {
  ACPI_PM1_CONTROL,
  ACPI_PM1_ENABLE,
  ACPI_PM1_STATUS,
  CHIPSET_BOOT_NS,
} from '#shared/chipset/page-layout.js';

/** Ports from PM1_EVT_BLOCK to the end of the timer. */
export const ACPI_PORTS_START = A.PM1_EVT_BLOCK;
export const ACPI_PORTS_END = A.PM_TMR_BLOCK + A.PM_TMR_BYTES;

const PM1_WRITABLE = A.PM1_TMR_STS | A.PM1_GBL_STS | A.PM1_PWRBTN_STS | A.PM1_SLPBTN_STS | A.PM1_RTC_STS;

export function resetAcpi(page: ChipsetPage): void {
  setWord(page, ACPI_PM1_STATUS, 0);
  setWord(page, ACPI_PM1_ENABLE, 0);
  setWord(page, ACPI_PM1_CONTROL, A.PM1_CNT_SCI_EN);
}

/** A read of 1, 2 or 4 bytes within the block. */
export function acpiRead(page: ChipsetPage, port: number, size: number, nowNs: number): number {
  const register = readDword(page, port & ~3, nowNs) >>> ((port & 3) * 8);
  return size === 4 ? register >>> 0 : size === 2 ? register & 0xffff : register & 0xff;
}

/** A write of 1, 2 or 4 bytes within the block; true when it asks for S5 (power off). */
export function acpiWrite(page: ChipsetPage, port: number, size: number, value: number): boolean {
  const shift = (port & 3) * 8;
  const lanes = (size === 4 ? -1 : size === 2 ? 0xffff : 0xff) << shift;
  const data = (value << shift) & lanes;
  switch (port & ~3) {
    case A.PM1_EVT_BLOCK:
      setWord(page, ACPI_PM1_STATUS, getWord(page, ACPI_PM1_STATUS) & ~data & 0xffff);
      setWord(
        page,
        ACPI_PM1_ENABLE,
        (getWord(page, ACPI_PM1_ENABLE) & ~(lanes >>> 16)) | ((data >>> 16) & PM1_WRITABLE),
      );
      return false;
    case A.PM1_CNT_BLOCK: {
      const control = (getWord(page, ACPI_PM1_CONTROL) & ~lanes) | data | A.PM1_CNT_SCI_EN;
      setWord(page, ACPI_PM1_CONTROL, control & 0xffff & ~A.PM1_CNT_SLP_EN);
      const type = (control & A.PM1_CNT_SLP_TYP_MASK) >> A.PM1_CNT_SLP_TYP_SHIFT;
      return (control & A.PM1_CNT_SLP_EN) !== 0 && type === A.SLP_TYP_S5;
    }
    default:
      return false;
  }
}

export function isSciAsserted(page: ChipsetPage): boolean {
  return (getWord(page, ACPI_PM1_STATUS) & getWord(page, ACPI_PM1_ENABLE)) !== 0;
}

function readDword(page: ChipsetPage, port: number, nowNs: number): number {
  switch (port) {
    case A.PM1_EVT_BLOCK:
      return getWord(page, ACPI_PM1_STATUS) | (getWord(page, ACPI_PM1_ENABLE) << 16);
    case A.PM1_CNT_BLOCK:
      return getWord(page, ACPI_PM1_CONTROL);
    default:
      return pmTimer(nowNs - getDouble(page, CHIPSET_BOOT_NS));
  }
}

/** 32 bits. Exact in doubles for 29 days of ns times Hz; split by seconds to stay exact for ever. */
function pmTimer(ns: number): number {
  const seconds = Math.floor(ns / 1e9);
  const rest = ns - seconds * 1e9;
  return (seconds * A.PM_TMR_HZ + Math.floor((rest * A.PM_TMR_HZ) / 1e9)) % 0x1_0000_0000;
}
