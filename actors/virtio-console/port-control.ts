// The control queues of a console with several ports: the guest says what it is ready for, the device adds, names, opens and
// resizes ports. virtio-v1.2 §5.3.6.2. What is to be sent is a set of bits a port in the state page; a message and the
// clearing of its bit become effective together, with the publication in the used ring.
import type { DescriptorChain } from '#shared/virtio/descriptor-chain.js';
import { SERVE_IDLE, type ServeResult } from '#shared/virtio/device.js';
import * as V from '#shared/virtio/console.js';
import type { DeviceQueue } from '#shared/virtio/queue.js';
import * as S from './state.js';

export class PortControl {
  /** Messages heard from the guest by this thread. */
  heard = 0;
  readonly #state: S.ConsoleState;
  /** By port; the terminal has none. */
  readonly #names: readonly (string | undefined)[];
  readonly #chain: DescriptorChain;

  constructor(state: S.ConsoleState, names: readonly (string | undefined)[], chain: DescriptorChain) {
    this.#state = state;
    this.#names = names;
    this.#chain = chain;
  }

  /** A new driver: nothing was said. What the host said of its ends stays. */
  reset(): void {
    for (let port = 0; port < this.#names.length; port++) {
      this.#state.setFlag(port, S.PORT_READY | S.PORT_GUEST_OPEN, false);
      this.#state.setPort(port, S.PORT_PENDING, 0);
      this.#state.setPort(port, S.PORT_SENT, 0);
    }
  }

  /** Has the guest yet to be told of this? */
  isPending(port: number, bit: number): boolean {
    return (this.#state.port(port, S.PORT_PENDING) & bit) !== 0;
  }

  /** Marks messages for sending; those of once-only kinds that were sent are left out. */
  announce(port: number, bits: number): void {
    const sent = this.#state.port(port, S.PORT_SENT);
    const pending = this.#state.port(port, S.PORT_PENDING);
    this.#state.setPort(port, S.PORT_PENDING, pending | (bits & ~(sent & S.CONTROL_ONCE)));
  }

  /** Messages from the guest. May see one again: all are idempotent. */
  serveFromGuest(queue: DeviceQueue): ServeResult {
    const message = new Uint8Array(V.CONTROL_MESSAGE_BYTES);
    const view = new DataView(message.buffer);
    for (let turn = 0; turn < V.CONSOLE_QUEUE_SIZE; turn++) {
      const taken = queue.take(this.#chain);
      if (taken.kind === 'error') return taken;
      if (taken.kind === 'empty') {
        if (queue.arm()) continue;
        break;
      }
      if (this.#chain.copyFromReadable(0, message) === message.length) {
        this.#hear(view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true));
      }
      this.heard++;
      queue.complete(this.#chain, 0);
    }
    return SERVE_IDLE;
  }

  #hear(port: number, event: number, value: number): void {
    if (event === V.VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 1) this.#names.forEach((_, i) => this.announce(i, S.CONTROL_ADD));
      return;
    }
    if (port >= this.#names.length) return;
    if (event === V.VIRTIO_CONSOLE_PORT_READY) {
      this.#state.setFlag(port, S.PORT_READY, value === 1);
      if (value !== 1) return;
      const kind = this.#names[port] === undefined ? S.CONTROL_CONSOLE | S.CONTROL_RESIZE : S.CONTROL_NAME;
      const size = this.#state.get(S.TERMINAL_SIZE);
      this.announce(port, (size === 0 ? kind & ~S.CONTROL_RESIZE : kind) | S.CONTROL_OPEN);
    } else if (event === V.VIRTIO_CONSOLE_PORT_OPEN) {
      this.#state.setFlag(port, S.PORT_GUEST_OPEN, value === 1);
    }
  }

  /** Sends what is pending as far as the guest has given buffers. */
  serveToGuest(queue: DeviceQueue): ServeResult {
    for (let port = 0; port < this.#names.length; port++) {
      for (let bit = S.CONTROL_ADD; bit <= S.CONTROL_RESIZE; bit <<= 1) {
        if (!this.isPending(port, bit)) continue;
        let taken = queue.take(this.#chain);
        if (taken.kind === 'empty' && queue.arm()) taken = queue.take(this.#chain);
        if (taken.kind === 'error') return taken;
        if (taken.kind === 'empty') return SERVE_IDLE;
        const message = this.#message(port, bit);
        const length = this.#chain.copyToWritable(0, message);
        const commit = (port << 8) | bit;
        queue.complete(this.#chain, length, commit, () => this.commitSent(commit));
      }
    }
    return SERVE_IDLE;
  }

  /** `commit`: port << 8 | bit. */
  commitSent(commit: number): void {
    const port = commit >>> 8;
    const bit = commit & 0xff;
    this.#state.setPort(port, S.PORT_SENT, this.#state.port(port, S.PORT_SENT) | bit);
    this.#state.setPort(port, S.PORT_PENDING, this.#state.port(port, S.PORT_PENDING) & ~bit);
  }

  #message(port: number, bit: number): Uint8Array {
    switch (bit) {
      case S.CONTROL_ADD:
        return encode(port, V.VIRTIO_CONSOLE_PORT_ADD, 1);
      case S.CONTROL_CONSOLE:
        return encode(port, V.VIRTIO_CONSOLE_CONSOLE_PORT, 1);
      case S.CONTROL_NAME:
        return encode(port, V.VIRTIO_CONSOLE_PORT_NAME, 1, new TextEncoder().encode(this.#names[port]));
      case S.CONTROL_OPEN:
        return encode(port, V.VIRTIO_CONSOLE_PORT_OPEN, this.#state.has(port, S.PORT_HOST_CLOSED) ? 0 : 1);
      default: {
        // §5.3.6.2: columns, then rows. Linux before 6.15 takes them the other way round.
        const size = new Uint8Array(4);
        new DataView(size.buffer).setUint32(0, this.#state.get(S.TERMINAL_SIZE), true);
        return encode(port, V.VIRTIO_CONSOLE_RESIZE, 0, size);
      }
    }
  }
}

function encode(
  port: number,
  event: number,
  value: number,
  rest: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(V.CONTROL_MESSAGE_BYTES + rest.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, port, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  bytes.set(rest, V.CONTROL_MESSAGE_BYTES);
  return bytes;
}
