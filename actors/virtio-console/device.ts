// virtio-console as a device: streams between a guest's ports and the kernel's mailboxes. virtio-v1.2 §5.3.6. Every byte
// goes over exactly once, whenever the actor dies:
//   output  POSTING_* says what is about to be posted; the mailbox's position says whether it was. One publication (the
//           mailbox's available index) moves the bytes and the chain's progress.
//   input   a chain's used element commits INPUT_PROGRESS; the message is answered when the guest has all of it.
// Back-pressure: a full mailbox leaves the chain in flight; a guest without buffers leaves the message in its mailbox.
import type { Failpoint } from '#shared/ipc/failpoint.js';
import type { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { VIRTIO_ID_CONSOLE } from '#shared/virtio/constants.js';
import * as V from '#shared/virtio/console.js';
import { DescriptorChain } from '#shared/virtio/descriptor-chain.js';
import { SERVE_IDLE, SERVE_MORE, type ServeResult, type VirtioDevice } from '#shared/virtio/device.js';
import { featureSet, hasFeature, type FeatureSet } from '#shared/virtio/feature-set.js';
import type { DeviceQueue } from '#shared/virtio/queue.js';
import { PortControl } from './port-control.js';
import {
  CONSOLE_PORT,
  STDIN_PORT,
  VERB_CLOSE,
  VERB_DATA,
  VERB_OPEN,
  VERB_RESIZE,
  messageKind,
} from './protocol.js';
import * as S from './state.js';

const TURN_CHAINS = 64;

export interface ConsoleEnvironment {
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly failpoint: Failpoint;
  readonly state: S.ConsoleState;
  /** By port. */
  readonly names: readonly (string | undefined)[];
  /** Input from the kernel, by port. */
  readonly inputs: readonly MailboxReceiver[];
  /** Output to the kernel. */
  readonly output: MailboxSender;
  readonly discardTerminal: boolean;
  /** The guest is to be told that the terminal's size changed. */
  readonly sizeChanged: () => void;
  /** Serves a queue now, ahead of its turn. */
  readonly serveQueue: (index: number) => void;
  /** Every queue is to be looked at in the next turn. */
  readonly wakeAll: () => void;
}

export class VirtioConsole implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_CONSOLE;
  readonly features = featureSet(V.VIRTIO_CONSOLE_F_SIZE, V.VIRTIO_CONSOLE_F_MULTIPORT);
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(V.CONSOLE_CONFIG_BYTES);
  /** Some port waits for room in the kernel's mailbox, which nobody rings for. */
  isBlocked = false;
  readonly #env: ConsoleEnvironment;
  readonly #control: PortControl;
  /** Of each port's transmit queue: the chain in flight. */
  readonly #transmitting: { readonly chain: DescriptorChain; active: boolean }[];
  readonly #receiving: DescriptorChain;
  #multiport = false;

  constructor(env: ConsoleEnvironment) {
    this.#env = env;
    const { names, state } = env;
    this.queueSizes = Array.from({ length: V.consoleQueueCount(names.length) }, () => V.CONSOLE_QUEUE_SIZE);
    this.#control = new PortControl(state, names, new DescriptorChain(env.views, env.ram));
    this.#transmitting = names.map(() => ({ chain: new DescriptorChain(env.views, env.ram), active: false }));
    this.#receiving = new DescriptorChain(env.views, env.ram);
    new DataView(this.config.buffer).setUint32(V.CONSOLE_CONFIG_MAX_NR_PORTS, names.length, true);
    for (let port = 0; port < names.length; port++) {
      if (state.has(port, S.PORT_INITIALISED)) continue;
      state.setFlag(port, S.PORT_HOST_CLOSED, port === STDIN_PORT);
      state.setFlag(port, S.PORT_INITIALISED, true);
    }
    this.#showSize();
    this.#settlePosting();
  }

  start(features: FeatureSet): void {
    this.#multiport = hasFeature(features, V.VIRTIO_CONSOLE_F_MULTIPORT);
  }

  reset(index?: number): void {
    for (const [port, transmitting] of this.#transmitting.entries()) {
      if (index !== undefined && index !== V.transmitQueue(port)) continue;
      transmitting.active = false;
      this.#env.state.setPort(port, S.TRANSMIT_PROGRESS, 0);
    }
    if (index === undefined) this.#control.reset();
  }

  recoverCommit(queue: number, word: number): void {
    if (queue === V.CONTROL_RECEIVE_QUEUE) return this.#control.commitSent(word);
    if (queue === V.CONTROL_TRANSMIT_QUEUE) return;
    const port = this.#portOf(queue);
    if (queue === V.transmitQueue(port)) this.#env.state.setPort(port, S.TRANSMIT_PROGRESS, 0);
    else this.#env.state.setPort(port, S.INPUT_PROGRESS, word);
  }

  /** Obeys what the kernel says of ports; returns the receive queues whose ports have bytes waiting, a bit each. */
  hearKernel(): number {
    let queues = 0;
    for (let port = 0; port < this.#env.inputs.length; port++) {
      if (this.#obeyVerbs(port)) queues |= 1 << V.receiveQueue(port);
    }
    return queues;
  }

  serve(index: number, queue: DeviceQueue): ServeResult {
    if (index === V.CONTROL_TRANSMIT_QUEUE) {
      const heard = this.#control.heard;
      const result = this.#control.serveFromGuest(queue);
      // What the guest said makes answers due, and may have opened a port that bytes wait for.
      if (this.#control.heard !== heard) this.#env.wakeAll();
      return result;
    }
    if (index === V.CONTROL_RECEIVE_QUEUE) return this.#control.serveToGuest(queue);
    const port = this.#portOf(index);
    return index === V.transmitQueue(port) ? this.#transmit(port, queue) : this.#receive(port, queue);
  }

  #portOf(queue: number): number {
    return queue < V.CONTROL_RECEIVE_QUEUE ? 0 : (queue - 2) >>> 1;
  }

  // --- guest to kernel -------------------------------------------------------------------------------------------------

  #transmit(port: number, queue: DeviceQueue): ServeResult {
    const transmitting = this.#transmitting[port]!;
    const { chain } = transmitting;
    for (let turn = 0; turn < TURN_CHAINS; turn++) {
      if (!transmitting.active) {
        const taken = queue.take(chain);
        if (taken.kind === 'error') return taken;
        if (taken.kind === 'empty') {
          if (queue.arm()) continue;
          return SERVE_IDLE;
        }
        transmitting.active = true;
      }
      if (!this.#hasPosted(port, chain)) {
        this.isBlocked = true;
        return SERVE_IDLE;
      }
      transmitting.active = false;
      this.#env.failpoint('request.executed');
      queue.complete(chain, 0, 0, () => this.#env.state.setPort(port, S.TRANSMIT_PROGRESS, 0));
    }
    return SERVE_MORE;
  }

  /** Posts what of the chain is not posted yet; false when the mailbox is full before its end. */
  #hasPosted(port: number, chain: DescriptorChain): boolean {
    const { state, output, failpoint, views } = this.#env;
    if (port === CONSOLE_PORT && this.#env.discardTerminal) return true;
    for (;;) {
      const progress = state.port(port, S.TRANSMIT_PROGRESS);
      const bytes = Math.min(chain.readableBytes - progress, output.payloadBytes);
      if (bytes <= 0) return true;
      if (!output.hasRoom) return false;
      const payload = output.reserve();
      chain.copyFromReadable(progress, views.u8.subarray(payload, payload + bytes));
      state.set(S.POSTING_POSITION, output.position);
      state.set(S.POSTING_PROGRESS, progress + bytes);
      state.set(S.POSTING_PORT, port + 1);
      failpoint('output.posting');
      output.post(payload, messageKind(VERB_DATA, port), bytes);
      failpoint('output.posted');
      state.setPort(port, S.TRANSMIT_PROGRESS, progress + bytes);
      state.set(S.POSTING_PORT, 0);
    }
  }

  /** After a restart: was the message that was being posted posted? */
  #settlePosting(): void {
    const { state, output } = this.#env;
    const port = state.get(S.POSTING_PORT) - 1;
    if (port < 0) return;
    const posted = output.position !== state.get(S.POSTING_POSITION);
    if (posted) state.setPort(port, S.TRANSMIT_PROGRESS, state.get(S.POSTING_PROGRESS));
    state.set(S.POSTING_PORT, 0);
  }

  // --- kernel to guest -------------------------------------------------------------------------------------------------

  #receive(port: number, queue: DeviceQueue): ServeResult {
    const { state, failpoint, views } = this.#env;
    const input = this.#env.inputs[port]!;
    for (let turn = 0; turn < TURN_CHAINS; turn++) {
      if (this.#multiport && !state.has(port, S.PORT_GUEST_OPEN)) return SERVE_IDLE;
      if (!this.#obeyVerbs(port)) return SERVE_IDLE;
      // Bytes must not overtake what the kernel said before them of another port: a command before its input's opening.
      this.hearKernel();
      if (this.#multiport) this.#env.serveQueue(V.CONTROL_RECEIVE_QUEUE);
      const payload = input.peek();
      if (state.port(port, S.INPUT_SEQUENCE) !== input.sequence) {
        state.setPort(port, S.INPUT_PROGRESS, 0);
        state.setPort(port, S.INPUT_SEQUENCE, input.sequence);
      }
      const progress = state.port(port, S.INPUT_PROGRESS);
      if (progress >= input.length) {
        failpoint('input.consumed');
        input.complete();
        continue;
      }
      const taken = queue.take(this.#receiving);
      if (taken.kind === 'error') return taken;
      if (taken.kind === 'empty') {
        if (queue.arm()) continue;
        return SERVE_IDLE;
      }
      const waiting = views.u8.subarray(payload + progress, payload + input.length);
      const bytes = this.#receiving.copyToWritable(0, waiting);
      failpoint('request.executed');
      queue.complete(this.#receiving, bytes, progress + bytes, (word) =>
        state.setPort(port, S.INPUT_PROGRESS, word),
      );
    }
    return SERVE_MORE;
  }

  /** Obeys what stands at the head of a port's mailbox until bytes do: then true. When it is empty, it is armed. */
  #obeyVerbs(port: number): boolean {
    const input = this.#env.inputs[port]!;
    for (;;) {
      const payload = input.peek();
      if (payload < 0) {
        if (input.arm()) continue;
        return false;
      }
      const verb = input.kind >>> 8;
      if (verb === VERB_DATA) return true;
      if (verb === VERB_OPEN || verb === VERB_CLOSE) {
        if (!this.#setHostEnd(port, verb === VERB_OPEN)) return false;
      } else if (verb === VERB_RESIZE) {
        this.#resize(this.#env.views.u32[payload >>> 2]!);
      }
      this.#env.failpoint('input.obeyed');
      input.complete();
    }
  }

  /** False while the guest has yet to be told of an earlier change: it must not miss an end of file. */
  #setHostEnd(port: number, open: boolean): boolean {
    const { state } = this.#env;
    if (state.has(port, S.PORT_READY)) {
      if (this.#control.isPending(port, S.CONTROL_OPEN)) this.#env.serveQueue(V.CONTROL_RECEIVE_QUEUE);
      if (this.#control.isPending(port, S.CONTROL_OPEN)) return false;
      state.setFlag(port, S.PORT_HOST_CLOSED, !open);
      this.#control.announce(port, S.CONTROL_OPEN);
      this.#env.wakeAll();
    } else {
      state.setFlag(port, S.PORT_HOST_CLOSED, !open);
    }
    return true;
  }

  #resize(size: number): void {
    const { state } = this.#env;
    state.set(S.TERMINAL_SIZE, size);
    this.#showSize();
    if (state.has(CONSOLE_PORT, S.PORT_READY)) this.#control.announce(CONSOLE_PORT, S.CONTROL_RESIZE);
    this.#env.sizeChanged();
    this.#env.wakeAll();
  }

  #showSize(): void {
    new DataView(this.config.buffer).setUint32(
      V.CONSOLE_CONFIG_COLS,
      this.#env.state.get(S.TERMINAL_SIZE),
      true,
    );
  }
}
