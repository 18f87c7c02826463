// The 8259A pair as the guest programs it: ICW1–4, OCW1–3, EOI, rotation, poll and the INTA cycle, on the chipset page.
// Intel 8259A datasheet (231468). A vCPU's worker runs these directly; they change several words at once, so the caller
// holds the chipset lock (chipset-lock.ts). Leaves out MCS-80 vectors, buffered mode and a chip without its cascade.

import * as C from '#shared/chipset/page-layout.js';
import * as P from '#shared/chipset/pic-lines.js';
import {
  type InterruptFabric,
  andChipset,
  loadChipset,
  orChipset,
  storeChipset,
} from '#shared/x86/interrupt-fabric.js';

export const PIC_MASTER_PORT = 0x20;
export const PIC_SLAVE_PORT = 0xa0;
export const PIC_ELCR_PORT = 0x4d0;

/** Inputs that ELCR can make level triggered: not 0, 1, 2, 8 and 13. */
const ELCR_WRITABLE = 0xdef8;

// ICW1, OCW2 and OCW3 bits (at the even port).
const ICW1 = 0x10;
const OCW3 = 0x08;

/** Power-on state. Everything is masked until ICW1, as firmware leaves it. Lines keep their levels. */
export function resetPic(fabric: InterruptFabric): void {
  for (const chip of [C.PIC_MASTER, C.PIC_SLAVE]) {
    for (const word of [P.PIC_IRR, P.PIC_ISR, P.PIC_STEP, P.PIC_FLAGS]) storeChipset(fabric, chip + word, 0);
    storeChipset(fabric, chip + P.PIC_IMR, 0xff);
    storeChipset(fabric, chip + P.PIC_LOWEST, 7);
  }
  storeChipset(fabric, C.PIC_MASTER + P.PIC_VECTOR_BASE, 0x08);
  storeChipset(fabric, C.PIC_SLAVE + P.PIC_VECTOR_BASE, 0x70);
  storeChipset(fabric, C.PIC_ELCR, 0);
}

/** A byte read of 20h, 21h, A0h, A1h. */
export function picRead(fabric: InterruptFabric, port: number): number {
  const chip = port < PIC_SLAVE_PORT ? C.PIC_MASTER : C.PIC_SLAVE;
  const flags = loadChipset(fabric, chip + P.PIC_FLAGS);
  if ((flags & P.PIC_F_POLL) !== 0) return poll(fabric, chip, flags);
  if ((port & 1) !== 0) return loadChipset(fabric, chip + P.PIC_IMR);
  if ((flags & P.PIC_F_READ_ISR) !== 0) return loadChipset(fabric, chip + P.PIC_ISR);
  return P.chipRequests(fabric, chip);
}

/** A byte write to 20h, 21h, A0h, A1h. */
export function picWrite(fabric: InterruptFabric, port: number, value: number): void {
  const chip = port < PIC_SLAVE_PORT ? C.PIC_MASTER : C.PIC_SLAVE;
  if ((port & 1) !== 0) writeData(fabric, chip, value);
  else if ((value & ICW1) !== 0) beginInitialization(fabric, chip, value);
  else if ((value & OCW3) !== 0) writeOcw3(fabric, chip, value);
  else writeOcw2(fabric, chip, value);
  P.propagateOutput(fabric);
}

export function elcrRead(fabric: InterruptFabric, port: number): number {
  return (loadChipset(fabric, C.PIC_ELCR) >>> ((port & 1) * 8)) & 0xff;
}

export function elcrWrite(fabric: InterruptFabric, port: number, value: number): void {
  const shift = (port & 1) * 8;
  const other = loadChipset(fabric, C.PIC_ELCR) & ~(0xff << shift);
  storeChipset(fabric, C.PIC_ELCR, (other | (value << shift)) & ELCR_WRITABLE);
}

/** The INTA cycle: puts the request of highest priority into service and gives its vector; input 7's when it vanished. */
export function picAcknowledge(fabric: InterruptFabric): number {
  let input = P.outputLevel(fabric, C.PIC_MASTER);
  let chip: number = C.PIC_MASTER;
  if (input === P.PIC_CASCADE) {
    enterService(fabric, C.PIC_MASTER, input);
    chip = C.PIC_SLAVE;
    input = P.outputLevel(fabric, C.PIC_SLAVE);
  }
  if (input >= 0) enterService(fabric, chip, input);
  else input = 7;
  const vector = loadChipset(fabric, chip + P.PIC_VECTOR_BASE) | input;
  P.propagateOutput(fabric);
  return vector;
}

/** Undoes an INTA cycle whose vector did not reach the processor; one that nothing asked for is forgotten, but for automatic EOI. */
export function picReturn(fabric: InterruptFabric, vector: number): void {
  const chip = [C.PIC_MASTER, C.PIC_SLAVE].find(
    (start) => loadChipset(fabric, start + P.PIC_VECTOR_BASE) === (vector & 0xf8),
  );
  if (chip === undefined) return;
  const bit = 1 << (vector & 7);
  const isr = loadChipset(fabric, chip + P.PIC_ISR);
  const endsByItself = (loadChipset(fabric, chip + P.PIC_FLAGS) & P.PIC_F_AUTO_EOI) !== 0;
  if (!endsByItself && (isr & bit) === 0) return;
  storeChipset(fabric, chip + P.PIC_ISR, isr & ~bit);
  if ((P.levelInputs(fabric, chip) & bit) === 0) orChipset(fabric, chip + P.PIC_IRR, bit);
  if (chip === C.PIC_SLAVE && (isr & ~bit) === 0) {
    const master = C.PIC_MASTER + P.PIC_ISR;
    storeChipset(fabric, master, loadChipset(fabric, master) & ~(1 << P.PIC_CASCADE));
  }
  P.propagateOutput(fabric);
}

function enterService(fabric: InterruptFabric, chip: number, input: number): void {
  const bit = 1 << input;
  const flags = loadChipset(fabric, chip + P.PIC_FLAGS);
  if ((P.levelInputs(fabric, chip) & bit) === 0) andChipset(fabric, chip + P.PIC_IRR, ~bit);
  if ((flags & P.PIC_F_AUTO_EOI) === 0) {
    storeChipset(fabric, chip + P.PIC_ISR, loadChipset(fabric, chip + P.PIC_ISR) | bit);
  } else if ((flags & P.PIC_F_ROTATE_ON_AUTO_EOI) !== 0) {
    storeChipset(fabric, chip + P.PIC_LOWEST, input);
  }
}

/** OCW3's poll: the next read is an acknowledge of this chip alone; bit 7 says there was a request. */
function poll(fabric: InterruptFabric, chip: number, flags: number): number {
  storeChipset(fabric, chip + P.PIC_FLAGS, flags & ~P.PIC_F_POLL);
  const input = P.outputLevel(fabric, chip);
  if (input < 0) return 7;
  enterService(fabric, chip, input);
  P.propagateOutput(fabric);
  return 0x80 | input;
}

function beginInitialization(fabric: InterruptFabric, chip: number, value: number): void {
  const needsIcw4 = (value & 1) !== 0 ? P.PIC_F_ICW4 : 0;
  const single = (value & 2) !== 0 ? P.PIC_F_SINGLE : 0;
  const level = (value & 8) !== 0 ? P.PIC_F_LEVEL : 0;
  storeChipset(fabric, chip + P.PIC_FLAGS, needsIcw4 | single | level);
  // The edge sense is reset: a line that is high now must fall and rise again. A level input stays requested.
  const levels = P.levelInputs(fabric, chip) & loadChipset(fabric, chip + P.PIC_LINES);
  storeChipset(fabric, chip + P.PIC_IRR, levels);
  storeChipset(fabric, chip + P.PIC_ISR, 0);
  storeChipset(fabric, chip + P.PIC_IMR, 0);
  storeChipset(fabric, chip + P.PIC_LOWEST, 7);
  storeChipset(fabric, chip + P.PIC_STEP, 2);
}

function writeData(fabric: InterruptFabric, chip: number, value: number): void {
  const step = loadChipset(fabric, chip + P.PIC_STEP);
  const flags = loadChipset(fabric, chip + P.PIC_FLAGS);
  if (step === 0) return storeChipset(fabric, chip + P.PIC_IMR, value & 0xff);
  if (step === 2) storeChipset(fabric, chip + P.PIC_VECTOR_BASE, value & 0xf8);
  if (step === 4) {
    const autoEoi = (value & 2) !== 0 ? P.PIC_F_AUTO_EOI : 0;
    const nested = (value & 0x10) !== 0 ? P.PIC_F_FULLY_NESTED : 0;
    storeChipset(fabric, chip + P.PIC_FLAGS, flags | autoEoi | nested);
  }
  let next = step + 1;
  if (next === 3 && (flags & P.PIC_F_SINGLE) !== 0) next = 4;
  if (next === 4 && (flags & P.PIC_F_ICW4) === 0) next = 5;
  storeChipset(fabric, chip + P.PIC_STEP, next > 4 ? 0 : next);
}

function writeOcw3(fabric: InterruptFabric, chip: number, value: number): void {
  let flags = loadChipset(fabric, chip + P.PIC_FLAGS);
  if ((value & 4) !== 0) flags |= P.PIC_F_POLL;
  if ((value & 2) !== 0) flags = (flags & ~P.PIC_F_READ_ISR) | ((value & 1) !== 0 ? P.PIC_F_READ_ISR : 0);
  if ((value & 0x40) !== 0) {
    flags = (flags & ~P.PIC_F_SPECIAL_MASK) | ((value & 0x20) !== 0 ? P.PIC_F_SPECIAL_MASK : 0);
  }
  storeChipset(fabric, chip + P.PIC_FLAGS, flags);
}

/** OCW2: bits 7:5 are R (rotate), SL (specific level), EOI. */
function writeOcw2(fabric: InterruptFabric, chip: number, value: number): void {
  const rotate = (value & 0x80) !== 0;
  const specific = (value & 0x40) !== 0;
  const eoi = (value & 0x20) !== 0;
  if (!eoi) {
    if (specific) {
      if (rotate) storeChipset(fabric, chip + P.PIC_LOWEST, value & 7);
      return;
    }
    const flags = loadChipset(fabric, chip + P.PIC_FLAGS) & ~P.PIC_F_ROTATE_ON_AUTO_EOI;
    return storeChipset(fabric, chip + P.PIC_FLAGS, rotate ? flags | P.PIC_F_ROTATE_ON_AUTO_EOI : flags);
  }
  const isr = loadChipset(fabric, chip + P.PIC_ISR);
  const input = specific ? value & 7 : P.firstByPriority(fabric, chip, isr);
  if (input < 0) return;
  storeChipset(fabric, chip + P.PIC_ISR, isr & ~(1 << input));
  if (rotate) storeChipset(fabric, chip + P.PIC_LOWEST, input);
}
