// The console against a driver with ports: the control protocol, streams both ways, back-pressure, and that not a byte is
// lost, doubled or reordered when the device dies at any failpoint.
import { describe, expect, it } from 'vitest';
import { createVirtioConsole } from '#actors/virtio-console/actor.js';
import {
  CONSOLE_PORT,
  CONTROL_PORT,
  EXEC_PORT_NAMES,
  STDIN_PORT,
  STDOUT_PORT,
  VERB_CLOSE,
  VERB_DATA,
  VERB_OPEN,
  VERB_RESIZE,
  inputSource,
  messageKind,
  portCount,
} from '#actors/virtio-console/protocol.js';
import { createPrng } from '#shared/base/prng.js';
import { MailboxReceiver, MailboxSender } from '#shared/ipc/mailbox.js';
import { KERNEL_NAME, mailboxName } from '#shared/memory/machine-layout.js';
import * as V from '#shared/virtio/console.js';
import { featureSet, unionFeatures } from '#shared/virtio/feature-set.js';
import { ACTOR, InProcessDevice, killNow } from '../../support/in-process-device.js';
import { DEFAULT_FEATURES } from '../../support/mock-driver.js';

const FEATURES = unionFeatures(
  DEFAULT_FEATURES,
  featureSet(V.VIRTIO_CONSOLE_F_MULTIPORT, V.VIRTIO_CONSOLE_F_SIZE),
);
const PORTS = portCount(true);
const encoder = new TextEncoder();

/** A console, the kernel's ends of its mailboxes, and a guest that behaves as Linux's driver does. */
class ConsoleBench {
  readonly device: InProcessDevice;
  /** What the kernel got and what the guest got, by port. */
  readonly output: number[][] = Array.from({ length: PORTS }, () => []);
  readonly input: number[][] = Array.from({ length: PORTS }, () => []);
  /** Control messages that the guest got. */
  readonly control: { port: number; event: number; value: number; rest: Uint8Array }[] = [];
  /** Size of the guest's receive buffers. */
  bufferBytes = 16;
  #kernel: MailboxReceiver;
  readonly #inputs: MailboxSender[];

  constructor(entries = 4) {
    const mailbox = (from: string, to: string) => ({ from, to, entries, payloadBytes: 32 });
    const ports = Array.from({ length: PORTS }, (_, port) => port);
    this.device = new InProcessDevice({
      create: createVirtioConsole,
      plan: V.consoleFunctionPlan(ACTOR, PORTS),
      params: { output: 'kernel', execPorts: true },
      mailboxes: [mailbox(ACTOR, KERNEL_NAME), ...ports.map((port) => mailbox(inputSource(port), ACTOR))],
    });
    const { views, layout } = this.device;
    this.#kernel = new MailboxReceiver(views, layout.mailboxes[mailboxName(ACTOR, KERNEL_NAME)]!);
    this.#inputs = ports.map((port) => {
      const region = layout.mailboxes[mailboxName(inputSource(port), ACTOR)]!;
      return new MailboxSender(views, region, layout.actors[ACTOR]!.doorbell);
    });
  }

  drainKernel(): void {
    while (this.takeOutput());
  }

  takeOutput(): boolean {
    const payload = this.#kernel?.peek() ?? -1;
    if (payload < 0) return false;
    const bytes = this.device.views.u8.subarray(payload, payload + this.#kernel.length);
    this.output[this.#kernel.kind & 0xff]!.push(...bytes);
    this.#kernel.complete();
    return true;
  }

  send(verb: number, port: number, bytes: Uint8Array = new Uint8Array(0)): boolean {
    return this.#inputs[port]!.tryCast(messageKind(verb, port), bytes);
  }

  get inputsInFlight(): number {
    return this.#inputs.reduce((sum, sender) => sum + sender.inFlight, 0);
  }

  /** Brings the driver up and says that the device is ready. */
  start(): void {
    const { driver } = this.device;
    driver.start(FEATURES, 8);
    this.refill();
    this.sendControl(0, V.VIRTIO_CONSOLE_DEVICE_READY, 1);
    this.device.settle();
    this.runGuest();
  }

  sendControl(port: number, event: number, value: number): void {
    const message = new Uint8Array(8);
    const view = new DataView(message.buffer);
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    this.#post(V.CONTROL_TRANSMIT_QUEUE, message);
  }

  /** Guest output on a port; false when the queue is full. */
  print(port: number, bytes: Uint8Array): boolean {
    const index = V.transmitQueue(port);
    if (this.device.driver.queues[index]!.freeDescriptors < 1) return false;
    this.#post(index, bytes);
    return true;
  }

  #post(index: number, bytes: Uint8Array): void {
    const queue = this.device.driver.queues[index]!;
    while (queue.freeDescriptors === 0) {
      this.device.settle();
      while (queue.take() !== undefined);
    }
    queue.post([bytes]);
    if (queue.needsNotify()) this.device.driver.notify(index);
  }

  refill(): void {
    const indices = [V.CONTROL_RECEIVE_QUEUE, ...this.input.map((_, port) => V.receiveQueue(port))];
    for (const index of indices) {
      const queue = this.device.driver.queues[index]!;
      const bytes = index === V.CONTROL_RECEIVE_QUEUE ? 64 : this.bufferBytes;
      while (queue.freeDescriptors > 0) queue.post([bytes]);
      if (queue.needsNotify()) this.device.driver.notify(index);
    }
  }

  /** The guest's side, until both rest: takes back and refills buffers, answers control messages. */
  runGuest(): void {
    for (let again = true; again;) {
      again = false;
      this.device.settle();
      const { queues } = this.device.driver;
      for (
        let used = queues[V.CONTROL_RECEIVE_QUEUE]!.take();
        used;
        used = queues[V.CONTROL_RECEIVE_QUEUE]!.take()
      ) {
        again = true;
        this.#hear(used.data.subarray(0, used.length));
      }
      for (let port = 0; port < PORTS; port++) {
        const queue = queues[V.receiveQueue(port)]!;
        for (let used = queue.take(); used !== undefined; used = queue.take()) {
          again = true;
          this.input[port]!.push(...used.data.subarray(0, used.length));
        }
        while (queues[V.transmitQueue(port)]!.take() !== undefined) again = true;
      }
      while (queues[V.CONTROL_TRANSMIT_QUEUE]!.take() !== undefined);
      this.refill();
    }
  }

  #hear(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const message = {
      port: view.getUint32(0, true),
      event: view.getUint16(4, true),
      value: view.getUint16(6, true),
    };
    this.control.push({ ...message, rest: bytes.slice(8) });
    if (message.event === V.VIRTIO_CONSOLE_PORT_ADD)
      this.sendControl(message.port, V.VIRTIO_CONSOLE_PORT_READY, 1);
    const opens =
      message.event === V.VIRTIO_CONSOLE_CONSOLE_PORT || message.event === V.VIRTIO_CONSOLE_PORT_NAME;
    if (opens) this.sendControl(message.port, V.VIRTIO_CONSOLE_PORT_OPEN, 1);
  }

  /** Both sides, until all rest. */
  run(): void {
    for (let turn = 0; turn < 1000; turn++) {
      this.runGuest();
      if (!this.takeOutput()) return;
      this.drainKernel();
    }
    throw new Error('the console does not come to rest');
  }

  events(port: number): (readonly [number, number])[] {
    return this.control.filter((m) => m.port === port).map((m) => [m.event, m.value] as const);
  }
}

function text(bytes: readonly number[]): string {
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

describe('virtio-console', () => {
  it('adds, names and opens its ports; stdin is closed until the kernel opens it', () => {
    const bench = new ConsoleBench();
    bench.start();
    const names = bench.control.filter((m) => m.event === V.VIRTIO_CONSOLE_PORT_NAME);
    expect(names.map((m) => text([...m.rest]))).toEqual([...EXEC_PORT_NAMES]);
    expect(bench.events(CONSOLE_PORT)).toEqual([
      [V.VIRTIO_CONSOLE_PORT_ADD, 1],
      [V.VIRTIO_CONSOLE_CONSOLE_PORT, 1],
      [V.VIRTIO_CONSOLE_PORT_OPEN, 1],
    ]);
    expect(bench.events(STDIN_PORT).at(-1)).toEqual([V.VIRTIO_CONSOLE_PORT_OPEN, 0]);
    expect(bench.device.driver.config(4, 4)).toBe(PORTS);
  });

  it('carries bytes both ways, however they are cut', () => {
    const bench = new ConsoleBench();
    bench.start();
    const long = encoder.encode('0123456789'.repeat(10));
    for (const port of [CONSOLE_PORT, STDOUT_PORT]) {
      expect(bench.print(port, long)).toBe(true);
      bench.run();
      expect(text(bench.output[port]!)).toBe(text([...long]));
    }
    bench.send(VERB_DATA, CONSOLE_PORT, long.subarray(0, 32));
    bench.run();
    expect(text(bench.input[CONSOLE_PORT]!)).toBe(text([...long.subarray(0, 32)]));
    expect(bench.inputsInFlight).toBe(0);
  });

  it('keeps bytes for a port that the guest has not opened, without holding up others', () => {
    const bench = new ConsoleBench();
    bench.start();
    bench.sendControl(STDIN_PORT, V.VIRTIO_CONSOLE_PORT_OPEN, 0);
    bench.send(VERB_DATA, STDIN_PORT, encoder.encode('late'));
    bench.send(VERB_DATA, CONTROL_PORT, encoder.encode('now'));
    bench.run();
    expect([text(bench.input[STDIN_PORT]!), text(bench.input[CONTROL_PORT]!)]).toEqual(['', 'now']);
    bench.sendControl(STDIN_PORT, V.VIRTIO_CONSOLE_PORT_OPEN, 1);
    bench.run();
    expect(text(bench.input[STDIN_PORT]!)).toBe('late');
  });

  it('tells the guest each opening and closing in turn, after the bytes before it', () => {
    const bench = new ConsoleBench(8);
    bench.start();
    const before = bench.events(STDIN_PORT).length;
    bench.send(VERB_OPEN, STDIN_PORT);
    bench.send(VERB_DATA, STDIN_PORT, encoder.encode('a'));
    bench.send(VERB_CLOSE, STDIN_PORT);
    bench.send(VERB_OPEN, STDIN_PORT);
    bench.run();
    const opened = bench
      .events(STDIN_PORT)
      .slice(before)
      .map(([, value]) => value);
    expect(opened).toEqual([1, 0, 1]);
    expect(text(bench.input[STDIN_PORT]!)).toBe('a');
  });

  it('tells a new size of the terminal', () => {
    const bench = new ConsoleBench();
    bench.start();
    const size = Uint8Array.of(132, 0, 43, 0);
    bench.send(VERB_RESIZE, CONSOLE_PORT, size);
    bench.run();
    expect(bench.control.at(-1)).toMatchObject({ event: V.VIRTIO_CONSOLE_RESIZE, rest: size });
    expect([bench.device.driver.config(0, 2), bench.device.driver.config(2, 2)]).toEqual([132, 43]);
    expect(bench.device.takeInterrupt(0)).toBe(true);
  });

  it('stops taking output while the kernel does not read', () => {
    const bench = new ConsoleBench();
    bench.start();
    for (let i = 0; i < 8; i++) bench.print(CONSOLE_PORT, new Uint8Array(32).fill(i));
    bench.device.settle();
    const queue = bench.device.driver.queues[V.transmitQueue(CONSOLE_PORT)]!;
    let returned = 0;
    while (queue.take() !== undefined) returned++;
    expect(returned).toBe(4); // as many as the mailbox holds
    expect(bench.device.behaviour.nextDeadlineNs!()).toBeLessThan(Infinity);
    bench.drainKernel();
    bench.run();
    expect(bench.output[CONSOLE_PORT]!.length).toBe(8 * 32);
    expect(bench.device.behaviour.nextDeadlineNs!()).toBe(Infinity);
  });

  it('starts anew with a new driver', () => {
    const bench = new ConsoleBench();
    bench.start();
    bench.control.length = 0;
    bench.start();
    expect(bench.control.filter((m) => m.event === V.VIRTIO_CONSOLE_PORT_NAME).length).toBe(4);
  });
});

describe('virtio-console killed', () => {
  it('neither loses nor doubles a byte in either direction', () => {
    let generations = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const prng = createPrng(seed);
      const bench = new ConsoleBench();
      const killer = killNow(bench.device, seed, 15);
      bench.start();
      const sent: number[][] = Array.from({ length: PORTS }, () => []);
      const printed: number[][] = Array.from({ length: PORTS }, () => []);
      for (let round = 0; round < 80; round++) {
        const port = prng.below(PORTS);
        const bytes = new Uint8Array(1 + prng.below(80));
        prng.fill(bytes);
        if (bench.print(port, bytes)) printed[port]!.push(...bytes);
        const message = bytes.subarray(0, 1 + prng.below(Math.min(32, bytes.length)));
        if (bench.send(VERB_DATA, port, message)) sent[port]!.push(...message);
        if (prng.below(3) === 0) bench.device.settle();
        if (prng.below(3) === 0) bench.takeOutput();
        if (prng.below(3) === 0) bench.runGuest();
        killer.next();
      }
      bench.run();
      bench.run();
      expect(bench.output, `seed ${seed}`).toEqual(printed);
      expect(bench.input, `seed ${seed}`).toEqual(sent);
      const names = bench.control.filter((m) => m.event === V.VIRTIO_CONSOLE_PORT_NAME);
      expect(names.length, 'a name is said once').toBe(4);
      generations += bench.device.generation;
    }
    expect(generations).toBeGreaterThan(300);
  });
});
