// What the rest of the machine knows of the UART: where its registers are, and its parameters. Input comes as messages of
// plain bytes in the mailbox kernel->uart.
import { COM1_BASE, COM1_BYTES } from '#shared/acpi/platform.js';
import type { Region } from '#shared/base/region.js';
import type { OutputRing } from '#shared/ipc/output-ring.js';
import type { RegisterWindow } from '#shared/memory/machine-layout.js';
import { S_TX_HEAD, S_TX_RING, S_TX_TAIL, TX_RING_BYTES } from './state.js';

export interface UartParams {
  /** Where output goes: to the kernel's thread, by {@link uartOutputRing}, or nowhere. */
  readonly output: 'kernel' | 'none';
}

/** What the guest sends. `page`: the actor's state page. */
export function uartOutputRing(buffer: ArrayBufferLike, page: Region): OutputRing {
  return {
    words: new Int32Array(buffer, page.offset, S_TX_RING >> 2),
    head: S_TX_HEAD >> 2,
    tail: S_TX_TAIL >> 2,
    bytes: new Uint8Array(buffer, page.offset + S_TX_RING, TX_RING_BYTES),
  };
}

/** LSR, the register that a driver polls before every character, is read by load; it has no side effects here. */
export const UART_LSR = 5;

/** COM1. Writes are posted: a character costs no round trip. All reads but LSR's are calls, in order after them. */
export function uartWindow(actor: string): RegisterWindow {
  return {
    space: 'port',
    start: COM1_BASE,
    length: COM1_BYTES,
    actor,
    base: 0,
    write: 'posted',
    shadow: { start: UART_LSR, offset: UART_LSR, length: 1 },
  };
}
