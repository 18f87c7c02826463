// The 16550A as a driver sees it. National Semiconductor PC16550D datasheet. Transmission takes no time: THR is always empty,
// its interrupt comes as soon as it is enabled or a character is written. Nothing overruns: the receiver's FIFO is a
// ring of which the driver sees 16 bytes. Leaves out line errors, break, and what a baud rate would mean.

import * as S from './state.js';
import { type UartState, getState, setState } from './state.js';

export const IER_RDI = 1;
export const IER_THRI = 2;
export const IER_MSI = 8;
const LCR_DLAB = 0x80;
const MCR_LOOP = 0x10;
const FCR_ENABLE = 1;
const FCR_CLEAR_RCVR = 2;
const FCR_KEPT = 0xc1;
export const LSR_DR = 1;
const LSR_THRE_TEMT = 0x60;
/** CTS, DSR and DCD: somebody listens. */
const MSR_CONNECTED = 0xb0;

const IIR_NO_INT = 0x01;
const IIR_MSI = 0x00;
const IIR_THRI = 0x02;
const IIR_RDI = 0x04;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFO = 0xc0;

const FIFO_BYTES = 16;
const TRIGGER_LEVELS = [1, 4, 8, 14];

/** A byte read of register 0–7, side effects included. */
export function uartRead(state: UartState, register: number): number {
  const dlab = (getState(state, S.S_LCR) & LCR_DLAB) !== 0;
  switch (register) {
    case 0:
      return dlab ? getState(state, S.S_DLL) : takeReceived(state);
    case 1:
      return dlab ? getState(state, S.S_DLM) : getState(state, S.S_IER);
    case 2: {
      const iir = identifyInterrupt(state);
      if (iir === IIR_THRI) setState(state, S.S_THRE_PENDING, 0);
      return iir | ((getState(state, S.S_FCR) & FCR_ENABLE) !== 0 ? IIR_FIFO : 0);
    }
    case 3:
      return getState(state, S.S_LCR);
    case 4:
      return getState(state, S.S_MCR);
    case 5:
      return lineStatus(state);
    case 6: {
      const msr = modemStatus(state) | getState(state, S.S_MSR_DELTA);
      setState(state, S.S_MSR_DELTA, 0);
      return msr;
    }
    default:
      return getState(state, S.S_SCR);
  }
}

/** A byte write of register 0–7; true when the byte is to be sent. Writes of THR pulse the interrupt, see the actor. */
export function uartWrite(state: UartState, register: number, value: number): boolean {
  const dlab = (getState(state, S.S_LCR) & LCR_DLAB) !== 0;
  switch (register) {
    case 0:
      if (dlab) setState(state, S.S_DLL, value);
      else return writeTransmit(state, value);
      return false;
    case 1:
      if (dlab) setState(state, S.S_DLM, value);
      else writeInterruptEnable(state, value & 0xf);
      return false;
    case 2:
      setState(state, S.S_FCR, value & FCR_KEPT);
      if ((value & FCR_CLEAR_RCVR) !== 0) dropReceived(state);
      return false;
    case 3:
      setState(state, S.S_LCR, value);
      return false;
    case 4:
      writeModemControl(state, value & 0x1f);
      return false;
    case 7:
      setState(state, S.S_SCR, value);
      return false;
    default:
      return false;
  }
}

/** LSR. */
export function lineStatus(state: UartState): number {
  return LSR_THRE_TEMT | (receivedBytes(state) > 0 ? LSR_DR : 0);
}

/** Whether the interrupt line is to be high. */
export function hasInterrupt(state: UartState): boolean {
  return identifyInterrupt(state) !== IIR_NO_INT;
}

/** Whether input may come in: not while the receiver is looped back to the transmitter. */
export function isReceiving(state: UartState): boolean {
  return (getState(state, S.S_MCR) & MCR_LOOP) === 0;
}

export function receivedBytes(state: UartState): number {
  return (getState(state, S.S_RX_HEAD) - getState(state, S.S_RX_TAIL)) >>> 0;
}

/** Puts a byte into the receiver; lost when the ring is full, which the caller has ruled out for input. */
export function receive(state: UartState, byte: number): void {
  if (receivedBytes(state) >= S.RX_RING_BYTES) return;
  const head = getState(state, S.S_RX_HEAD);
  state.bytes[S.S_RX_RING + (head & (S.RX_RING_BYTES - 1))] = byte;
  setState(state, S.S_RX_HEAD, head + 1);
}

/** The interrupt of highest priority. Datasheet table IV. */
function identifyInterrupt(state: UartState): number {
  const ier = getState(state, S.S_IER);
  const received = receivedBytes(state);
  if ((ier & IER_RDI) !== 0 && received > 0) {
    const fcr = getState(state, S.S_FCR);
    const trigger = (fcr & FCR_ENABLE) !== 0 ? TRIGGER_LEVELS[fcr >> 6]! : 1;
    return received >= trigger ? IIR_RDI : IIR_TIMEOUT;
  }
  if ((ier & IER_THRI) !== 0 && getState(state, S.S_THRE_PENDING) !== 0) return IIR_THRI;
  if ((ier & IER_MSI) !== 0 && getState(state, S.S_MSR_DELTA) !== 0) return IIR_MSI;
  return IIR_NO_INT;
}

function takeReceived(state: UartState): number {
  if (receivedBytes(state) === 0) return 0;
  const tail = getState(state, S.S_RX_TAIL);
  const byte = state.bytes[S.S_RX_RING + (tail & (S.RX_RING_BYTES - 1))]!;
  setState(state, S.S_RX_TAIL, tail + 1);
  return byte;
}

/** What a real FIFO could hold is dropped; what was typed further ahead stays. */
function dropReceived(state: UartState): void {
  const dropped = Math.min(receivedBytes(state), FIFO_BYTES);
  setState(state, S.S_RX_TAIL, getState(state, S.S_RX_TAIL) + dropped);
}

function writeTransmit(state: UartState, value: number): boolean {
  setState(state, S.S_THRE_PENDING, 1);
  if ((getState(state, S.S_MCR) & MCR_LOOP) === 0) return true;
  receive(state, value);
  return false;
}

/** Enabling THRI while THR is empty (always) requests it. */
function writeInterruptEnable(state: UartState, value: number): void {
  const was = getState(state, S.S_IER);
  setState(state, S.S_IER, value);
  if ((value & ~was & IER_THRI) !== 0) setState(state, S.S_THRE_PENDING, 1);
}

function writeModemControl(state: UartState, value: number): void {
  const was = modemStatus(state);
  setState(state, S.S_MCR, value);
  const now = modemStatus(state);
  const changed = (was ^ now) >> 4;
  // Bit 2 tells the trailing edge of RI only.
  const delta = (changed & 0xb) | (changed & was & ~now & 0x40 ? 4 : 0);
  setState(state, S.S_MSR_DELTA, getState(state, S.S_MSR_DELTA) | delta);
}

/** MSR bits 7:4. Looped back they are MCR's outputs: RTS → CTS, DTR → DSR, OUT1 → RI, OUT2 → DCD. */
function modemStatus(state: UartState): number {
  const mcr = getState(state, S.S_MCR);
  if ((mcr & MCR_LOOP) === 0) return MSR_CONNECTED;
  return ((mcr & 2) << 3) | ((mcr & 1) << 5) | ((mcr & 4) << 4) | ((mcr & 8) << 4);
}
