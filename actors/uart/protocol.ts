// What the rest of the machine knows of the UART: where its registers are, and its parameters. Input comes as messages of
// plain bytes in the mailbox kernel->uart.
import { COM1_BASE, COM1_BYTES } from '#shared/acpi/platform.js';
import type { RegisterWindow } from '#shared/memory/machine-layout.js';

export interface UartParams {
  /** Where output goes: an open file descriptor of this process, or nowhere. */
  readonly output: number | 'none';
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
