// COM1: a 16550A whose registers come over the register bus and whose line goes to the kernel's thread. Each access is obeyed
// exactly once across restarts: the state page says which was the last of every vCPU, and what it gave (state.ts: steps).

import { COM1_IRQ } from '#shared/acpi/platform.js';
import type { ActorBehaviour, ActorContext } from '#shared/ipc/actor.js';
import type { MailboxReceiver } from '#shared/ipc/mailbox.js';
import type { RegisterHandler, RegisterServer } from '#shared/ipc/register-bus.js';
import { announceOutput, waitForRoom, waitingOutput, type OutputRing } from '#shared/ipc/output-ring.js';
import { KERNEL_NAME, vcpuName } from '#shared/memory/machine-layout.js';
import { type InterruptFabric, createInterruptFabric, setIsaIrq } from '#shared/x86/interrupt-delivery.js';
import { UART_LSR, uartOutputRing, type UartParams } from './protocol.js';
import * as R from './registers.js';
import * as S from './state.js';
import type { UartState } from './state.js';

/** How long to wait for the reader of a full ring before the next sign of life. */
const RETRY_MS = 5;

export function createUart(context: ActorContext): ActorBehaviour {
  return new Uart(context);
}

class Uart implements ActorBehaviour, RegisterHandler {
  readonly #context: ActorContext;
  readonly #fabric: InterruptFabric;
  readonly #state: UartState;
  /** Undefined: what is sent goes nowhere. */
  readonly #output: OutputRing | undefined;
  readonly #server: RegisterServer;
  readonly #input: MailboxReceiver;
  readonly #vcpus = new Map<string, number>();
  readonly #lsrShadow: number;
  /** Who sent the access in hand. */
  #vcpu = 0;
  #isLineHigh: boolean | undefined;
  #announced = 0;

  constructor(context: ActorContext) {
    this.#context = context;
    this.#fabric = createInterruptFabric(context.memory, context.layout, context.wire);
    this.#state = S.viewUartState(context.memory.buffer, context.statePage);
    const isHeard = (context.params as UartParams).output === 'kernel';
    this.#output = isHeard ? uartOutputRing(context.memory.buffer, context.statePage) : undefined;
    context.layout.vcpus.forEach((_, i) => this.#vcpus.set(vcpuName(i), i));
    this.#lsrShadow = context.registerPage.offset + UART_LSR;
    this.#input = context.receiveFrom(KERNEL_NAME);
    if (S.getState(this.#state, S.S_VERSION) === 0) S.resetUartState(this.#state);
    S.finishStep(this.#state);
    this.#server = context.serveRegisters(this);
    this.#publish();
  }

  poll(): boolean {
    const took = this.#takeInput();
    this.#flush();
    return took;
  }

  pause(): void {
    this.#flush();
  }

  resume(): void {}

  save(): Uint8Array {
    return this.#state.bytes.slice();
  }

  restore(state: Uint8Array): void {
    S.restoreUartState(this.#state, state);
    this.#publish();
  }

  reset(): void {
    this.#flush();
    S.resetUartState(this.#state);
    this.#publish();
  }

  halt(): void {
    this.#flush();
  }

  /** Of the register bus. */
  read(offset: number): number {
    if (this.#wasObeyed()) return S.repeatedValue(this.#state, this.#vcpu);
    this.#context.failpoint('access');
    S.beginStep(this.#state);
    return this.#record(R.uartRead(this.#state, offset & 7));
  }

  /** Of the register bus. */
  write(offset: number, _size: number, value: number): void {
    if (this.#wasObeyed()) return;
    this.#context.failpoint('access');
    while (this.#output !== undefined && waitingOutput(this.#output) >= S.TX_RING_BYTES)
      this.#waitForRoom(this.#output);
    S.beginStep(this.#state);
    if (R.uartWrite(this.#state, offset & 7, value & 0xff)) {
      if (this.#output !== undefined) S.putOutput(this.#state, value & 0xff);
      // THR was full for an instant: an edge-triggered pin needs to see the line fall.
      this.#driveLine(false);
    }
    this.#record(0);
  }

  #wasObeyed(): boolean {
    this.#vcpu = this.#vcpus.get(this.#server.source) ?? 0;
    return S.wasObeyed(this.#state, this.#vcpu, this.#server.sequence);
  }

  #record(value: number): number {
    S.recordAccess(this.#state, this.#vcpu, this.#server.sequence, value);
    this.#context.failpoint('obeyed');
    this.#publish();
    return value;
  }

  /** The guest is faster than whoever reads the output: it waits, and so does this actor, alive. */
  #waitForRoom(output: OutputRing): void {
    announceOutput(output);
    this.#context.beat();
    waitForRoom(output, RETRY_MS);
  }

  #takeInput(): boolean {
    if (!R.isReceiving(this.#state)) return false;
    let took = false;
    for (;;) {
      const payload = this.#input.peek();
      if (payload < 0) break;
      const { length, sequence } = this.#input;
      if (S.getState(this.#state, S.S_INPUT_SEQUENCE) !== (sequence | 0)) {
        if (R.receivedBytes(this.#state) + length > S.RX_RING_BYTES) break;
        const { u8 } = this.#context.views;
        S.beginStep(this.#state);
        for (let i = 0; i < length; i++) R.receive(this.#state, u8[payload + i]!);
        S.takeStep(this.#state, S.S_INPUT_SEQUENCE, sequence | 0);
      }
      this.#input.complete();
      took = true;
    }
    if (took) this.#publish();
    return took;
  }

  /** Tells the kernel's thread of new output. */
  #flush(): void {
    const head = S.getState(this.#state, S.S_TX_HEAD);
    if (this.#output === undefined || head === this.#announced) return;
    this.#context.failpoint('flush');
    announceOutput(this.#output);
    this.#announced = head;
  }

  /** Shows LSR and drives the line. */
  #publish(): void {
    this.#context.views.u8[this.#lsrShadow] = R.lineStatus(this.#state);
    this.#driveLine(R.hasInterrupt(this.#state));
  }

  #driveLine(level: boolean): void {
    if (level === this.#isLineHigh) return;
    this.#isLineHigh = level;
    setIsaIrq(this.#fabric, COM1_IRQ, level);
  }
}
