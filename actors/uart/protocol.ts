// What the kernel and the UART actor say to each other: bytes that arrive at the serial line come over the mailbox
// `kernel->uart`, one message a burst; its kind is not looked at.

export interface UartParams {
  /** Where the line's output goes: a file descriptor or nowhere. */
  readonly output: number | 'none';
}
