// The inputs and the output of the 8259 pair: what any thread may do without the chipset lock. A rising edge sets a
// bit of IRR; the output is a pure function of the registers. A raiser sets IRR and then reads IMR, a guest that
// unmasks writes IMR and then reads IRR: one of the two sees the request and wakes vCPU 0. Intel 8259A datasheet.

import * as C from '#shared/chipset/page-layout.js';
import {
  type InterruptFabric,
  andChipset,
  loadChipset,
  orChipset,
  signalVcpu,
} from '#shared/x86/interrupt-fabric.js';
import { setIoapicLine } from '#shared/x86/ioapic-page.js';
import { PENDING_INTERRUPT } from '#shared/x86/cpu-state.js';

// Words of one chip, byte offsets from PIC_MASTER or PIC_SLAVE.
export const PIC_IRR = 0;
/** Levels of the input lines. */
export const PIC_LINES = 4;
export const PIC_IMR = 8;
export const PIC_ISR = 12;
export const PIC_VECTOR_BASE = 16;
/** Which initialization word comes next at the odd port: 0 none, else 2–4. */
export const PIC_STEP = 20;
/** PIC_F_* */
export const PIC_FLAGS = 24;
/** The input of lowest priority: 7 unless rotated. */
export const PIC_LOWEST = 28;

export const PIC_F_ICW4 = 1;
export const PIC_F_SINGLE = 2;
export const PIC_F_AUTO_EOI = 4;
export const PIC_F_ROTATE_ON_AUTO_EOI = 8;
export const PIC_F_SPECIAL_MASK = 16;
export const PIC_F_FULLY_NESTED = 32;
export const PIC_F_READ_ISR = 64;
export const PIC_F_POLL = 128;
/** ICW1's LTIM: all inputs are level triggered, whatever ELCR says. */
export const PIC_F_LEVEL = 256;

/** The slave's output is the master's input 2. */
export const PIC_CASCADE = 2;

/** Drives ISA line `irq` (0–15). */
export function setPicLine(fabric: InterruptFabric, irq: number, level: boolean): void {
  const chip = irq < 8 ? C.PIC_MASTER : C.PIC_SLAVE;
  const bit = 1 << (irq & 7);
  const triggeredByLevel = (levelInputs(fabric, chip) & bit) !== 0;
  if (level) {
    const was = orChipset(fabric, chip + PIC_LINES, bit);
    if (triggeredByLevel || (was & bit) === 0) orChipset(fabric, chip + PIC_IRR, bit);
  } else {
    andChipset(fabric, chip + PIC_LINES, ~bit);
    if (triggeredByLevel) andChipset(fabric, chip + PIC_IRR, ~bit);
  }
  propagateOutput(fabric);
}

/** Tells whoever listens to INTR: vCPU 0 (its LINT0), and pin 0 of the IOAPIC. */
export function propagateOutput(fabric: InterruptFabric): void {
  const asserted = picHasInterrupt(fabric);
  setIoapicLine(fabric, 0, asserted, 0);
  if (asserted) signalVcpu(fabric, 0, PENDING_INTERRUPT);
}

/** INTR: whether an INTA cycle now would give a vector that was asked for. */
export function picHasInterrupt(fabric: InterruptFabric): boolean {
  return outputLevel(fabric, C.PIC_MASTER) >= 0;
}

/** The input that a chip would put into service now, or −1. */
export function outputLevel(fabric: InterruptFabric, chip: number): number {
  const imr = loadChipset(fabric, chip + PIC_IMR);
  const request = firstByPriority(fabric, chip, chipRequests(fabric, chip) & ~imr);
  if (request < 0) return -1;
  const flags = loadChipset(fabric, chip + PIC_FLAGS);
  let inService = loadChipset(fabric, chip + PIC_ISR);
  if ((flags & PIC_F_SPECIAL_MASK) !== 0) inService &= ~imr;
  // In special fully nested mode the slave may interrupt its own service.
  if ((flags & PIC_F_FULLY_NESTED) !== 0 && chip === C.PIC_MASTER) inService &= ~(1 << PIC_CASCADE);
  const current = firstByPriority(fabric, chip, inService);
  if (current < 0) return request;
  return rank(fabric, chip, request) < rank(fabric, chip, current) ? request : -1;
}

/** IRR as the chip sees it: the master's input 2 is the slave's output. */
export function chipRequests(fabric: InterruptFabric, chip: number): number {
  const irr = loadChipset(fabric, chip + PIC_IRR);
  if (chip === C.PIC_SLAVE) return irr;
  const cascade = outputLevel(fabric, C.PIC_SLAVE) >= 0;
  return cascade ? irr | (1 << PIC_CASCADE) : irr & ~(1 << PIC_CASCADE);
}

/** The set input of highest priority, or −1. */
export function firstByPriority(fabric: InterruptFabric, chip: number, inputs: number): number {
  if ((inputs & 0xff) === 0) return -1;
  const lowest = loadChipset(fabric, chip + PIC_LOWEST);
  for (let i = 1; i <= 8; i++) {
    const input = (lowest + i) & 7;
    if ((inputs & (1 << input)) !== 0) return input;
  }
  return -1;
}

/** Inputs of a chip that are level triggered, by ELCR or LTIM. */
export function levelInputs(fabric: InterruptFabric, chip: number): number {
  if ((loadChipset(fabric, chip + PIC_FLAGS) & PIC_F_LEVEL) !== 0) return 0xff;
  const elcr = loadChipset(fabric, C.PIC_ELCR);
  return chip === C.PIC_MASTER ? elcr & 0xff : elcr >>> 8;
}

/** 0 is the highest priority. */
function rank(fabric: InterruptFabric, chip: number, input: number): number {
  return (input - loadChipset(fabric, chip + PIC_LOWEST) - 1) & 7;
}
