// The console's own words of the state page, after the transport's and the queues': what the host said of its ends, how far
// the control protocol came, and how far each stream came, so that a new generation loses and doubles no byte.

/** Columns | rows << 16 of the terminal. */
export const TERMINAL_SIZE = 0;
// The message to the kernel that is being posted: port + 1 (0: none), the mailbox's position before it, and the port's
// TRANSMIT_PROGRESS once it is posted.
export const POSTING_PORT = 1;
export const POSTING_POSITION = 2;
export const POSTING_PROGRESS = 3;
export const HEADER_WORDS = 4;

// Words of a port.
/** PORT_* bits. */
export const PORT_FLAGS = 0;
/** Control messages that the guest is to get, a bit each; see CONTROL_*. */
export const PORT_PENDING = 1;
/** Of those that are sent once in a driver's life: the ones that were. */
export const PORT_SENT = 2;
/** Bytes of the chain in flight that stand in the kernel's mailbox already. */
export const TRANSMIT_PROGRESS = 3;
/** Sequence number of the input message in hand, and its bytes that the guest has. */
export const INPUT_SEQUENCE = 4;
export const INPUT_PROGRESS = 5;
export const PORT_WORDS = 8;

export const PORT_READY = 1;
export const PORT_GUEST_OPEN = 2;
/** The host's end is closed: set bits are the exception, zero is the state at power-on. */
export const PORT_HOST_CLOSED = 4;
/** The host's flags were given their start value. */
export const PORT_INITIALISED = 8;

/** In the order in which they are sent. */
export const CONTROL_ADD = 1;
export const CONTROL_CONSOLE = 2;
export const CONTROL_NAME = 4;
export const CONTROL_OPEN = 8;
export const CONTROL_RESIZE = 16;
export const CONTROL_ONCE = CONTROL_ADD | CONTROL_CONSOLE | CONTROL_NAME;

export function stateWords(ports: number): number {
  return HEADER_WORDS + ports * PORT_WORDS;
}

/** Accessors of the words, by byte offset of the first in the arena. */
export class ConsoleState {
  readonly #u32: Uint32Array;
  readonly #at: number;

  constructor(u32: Uint32Array, offset: number) {
    this.#u32 = u32;
    this.#at = offset >>> 2;
  }

  get(word: number): number {
    return this.#u32[this.#at + word]!;
  }

  set(word: number, value: number): void {
    this.#u32[this.#at + word] = value;
  }

  port(port: number, word: number): number {
    return this.get(HEADER_WORDS + port * PORT_WORDS + word);
  }

  setPort(port: number, word: number, value: number): void {
    this.set(HEADER_WORDS + port * PORT_WORDS + word, value);
  }

  has(port: number, flags: number): boolean {
    return (this.port(port, PORT_FLAGS) & flags) !== 0;
  }

  setFlag(port: number, flag: number, on: boolean): void {
    const flags = this.port(port, PORT_FLAGS);
    this.setPort(port, PORT_FLAGS, on ? flags | flag : flags & ~flag);
  }
}
