// Writes what the UART hands over to a file descriptor. This thread is not killed, so each byte is written once.
import {
  announceOutput,
  peekOutput,
  takeOutput,
  waitForOutput,
  type OutputRing,
} from '#shared/ipc/output-ring.js';
import { writeAll } from './terminal-output.js';

/** A missed wake-up costs this much, no more. */
const POLL_MS = 250;

export class SerialOutput {
  readonly #ring: OutputRing;
  readonly #fd: number;
  #closed = false;
  #running: Promise<void> = Promise.resolve();

  constructor(ring: OutputRing, fd: number) {
    this.#ring = ring;
    this.#fd = fd;
  }

  /** Writes until {@link close}. */
  start(): void {
    this.#running = this.#run();
  }

  /** Writes what still stands in the ring, then ends. */
  async close(): Promise<void> {
    this.#closed = true;
    announceOutput(this.#ring);
    await this.#running;
    await this.#drain();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      await this.#drain();
      await waitForOutput(this.#ring, POLL_MS);
    }
  }

  async #drain(): Promise<void> {
    for (let bytes = peekOutput(this.#ring); bytes.length > 0; bytes = peekOutput(this.#ring)) {
      await writeAll(this.#fd, bytes);
      takeOutput(this.#ring, bytes.length);
    }
  }
}
