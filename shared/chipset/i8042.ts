// The 8042 keyboard controller as far as kernels lean on it: self tests, configuration byte, output port (A20, reset), the
// pulse FEh that resets the machine, and a keyboard that acknowledges commands and never types. IBM PC/AT technical
// reference §1. The ACPI tables say that there is none: only kernels that do not read them come here.
// All functions are called under the chipset lock.

import { type ChipsetPage, getWord, setWord } from '#shared/chipset/chipset-page.js';
import {
  I8042_COMMAND,
  I8042_CONFIG,
  I8042_DATA,
  I8042_OUTPUT_PORT,
  I8042_STATUS,
} from '#shared/chipset/page-layout.js';

export const I8042_DATA_PORT = 0x60;
export const I8042_COMMAND_PORT = 0x64;

/** Output buffer full; system flag; the last write was a command. */
const STATUS_OBF = 1;
const STATUS_SYS = 4;
const STATUS_COMMAND = 8;
const CONFIG_IRQ1 = 1;
const OUTPUT_NO_RESET = 1;
const OUTPUT_A20 = 2;

const ACK = 0xfa;
const SELF_TEST_PASSED = 0xaa;

export function resetI8042(page: ChipsetPage): void {
  setWord(page, I8042_STATUS, STATUS_SYS);
  setWord(page, I8042_DATA, 0);
  setWord(page, I8042_COMMAND, 0);
  setWord(page, I8042_CONFIG, 0x04);
  setWord(page, I8042_OUTPUT_PORT, OUTPUT_NO_RESET | OUTPUT_A20);
}

/** A byte read of port 60h or 64h. */
export function i8042Read(page: ChipsetPage, port: number): number {
  if (port === I8042_COMMAND_PORT) return getWord(page, I8042_STATUS);
  // DATA holds up to three bytes, the next one lowest, and their number above.
  const queue = getWord(page, I8042_DATA);
  const count = queue >>> 24;
  if (count === 0) return 0;
  setWord(page, I8042_DATA, ((queue >>> 8) & 0xffff) | ((count - 1) << 24));
  if (count === 1) setWord(page, I8042_STATUS, getWord(page, I8042_STATUS) & ~STATUS_OBF);
  return queue & 0xff;
}

/** A byte write of port 60h or 64h; true when it resets the machine. */
export function i8042Write(page: ChipsetPage, port: number, value: number): boolean {
  const status = getWord(page, I8042_STATUS);
  if (port === I8042_COMMAND_PORT) {
    setWord(page, I8042_STATUS, status | STATUS_COMMAND);
    return command(page, value);
  }
  setWord(page, I8042_STATUS, status & ~STATUS_COMMAND);
  const pending = getWord(page, I8042_COMMAND);
  setWord(page, I8042_COMMAND, 0);
  switch (pending) {
    case 0:
      keyboardCommand(page, value);
      return false;
    case 0x60:
      setWord(page, I8042_CONFIG, value);
      return false;
    case 0xd1:
      setWord(page, I8042_OUTPUT_PORT, value);
      return (value & OUTPUT_NO_RESET) === 0;
    case 0xd2:
    case 0xd3:
      answer(page, [value]);
      return false;
    default:
      return false;
  }
}

/** Whether IRQ 1 is to be high: a byte waits and the guest wants to hear of it. */
export function isKeyboardIrqAsserted(page: ChipsetPage): boolean {
  return (
    (getWord(page, I8042_STATUS) & STATUS_OBF) !== 0 && (getWord(page, I8042_CONFIG) & CONFIG_IRQ1) !== 0
  );
}

function command(page: ChipsetPage, value: number): boolean {
  switch (value) {
    case 0x20:
      answer(page, [getWord(page, I8042_CONFIG)]);
      return false;
    case 0x60:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4:
      setWord(page, I8042_COMMAND, value);
      return false;
    case 0xa9: // no second port
      answer(page, [0xff]);
      return false;
    case 0xaa:
      answer(page, [0x55]);
      return false;
    case 0xab:
    case 0xc0:
      answer(page, [0x00]);
      return false;
    case 0xd0:
      answer(page, [getWord(page, I8042_OUTPUT_PORT)]);
      return false;
    default:
      // F0h–FFh pulse the output lines whose bits are clear: bit 0 is the CPU's reset.
      return value >= 0xf0 && (value & 1) === 0;
  }
}

function keyboardCommand(page: ChipsetPage, value: number): void {
  if (value === 0xff) answer(page, [ACK, SELF_TEST_PASSED]);
  else if (value === 0xf2) answer(page, [ACK, 0xab, 0x83]);
  else answer(page, [ACK]);
}

/** Replaces what waits: a new answer means that the old one was not wanted. */
function answer(page: ChipsetPage, bytes: readonly number[]): void {
  const queue = bytes.reduce((all, byte, i) => all | (byte << (8 * i)), 0);
  setWord(page, I8042_DATA, queue | (bytes.length << 24));
  setWord(page, I8042_STATUS, getWord(page, I8042_STATUS) | STATUS_OBF);
}
