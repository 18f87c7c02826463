// A vCPU under `--trace exec,mmio,irq`: the same machine, each instruction, access or interrupt taken written down.

import type { ActorContext } from '#shared/ipc/actor.js';
import { hex, type Tracer } from '#shared/ipc/trace.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { RIP } from '#shared/x86/cpu-state.js';
import { MachineBus } from './machine-bus.js';

/** The bus that the context's tracer asks for; without one, the plain bus. */
export function createBus(
  context: ActorContext,
  fabric: InterruptFabric,
  vcpu: number,
  debugExit: boolean,
): MachineBus {
  const { trace } = context;
  if (trace === undefined) return new MachineBus(context, fabric, vcpu, debugExit);
  const bus = trace.mmio
    ? new TracedBus(trace, context, fabric, vcpu, debugExit)
    : new MachineBus(context, fabric, vcpu, debugExit);
  if (trace.irq) traceInterrupts(trace, bus);
  return bus;
}

class TracedBus extends MachineBus {
  readonly #trace: Tracer;

  constructor(
    trace: Tracer,
    context: ActorContext,
    fabric: InterruptFabric,
    vcpu: number,
    debugExit: boolean,
  ) {
    super(context, fabric, vcpu, debugExit);
    this.#trace = trace;
  }

  override read(gpa: number, bytes: number): void {
    super.read(gpa, bytes);
    const value = bytes === 8 ? `${hex(this.high)}:${hex(this.low)}` : hex(this.low);
    this.#trace.event('mmio', `read${bytes} 0x${gpa.toString(16)} = ${value}`);
  }

  override write(gpa: number, bytes: number, low: number, high: number): void {
    const value = bytes === 8 ? `${hex(high)}:${hex(low)}` : hex(low);
    this.#trace.event('mmio', `write${bytes} 0x${gpa.toString(16)} = ${value}`);
    super.write(gpa, bytes, low, high);
  }

  override portRead(port: number, bytes: number): number {
    const value = super.portRead(port, bytes);
    this.#trace.event('mmio', `in${bytes} ${hex(port)} = ${hex(value)}`);
    return value;
  }

  override portWrite(port: number, bytes: number, value: number): void {
    this.#trace.event('mmio', `out${bytes} ${hex(port)} = ${hex(value)}`);
    super.portWrite(port, bytes, value);
  }
}

/** What `--trace exec` gives the engine: nothing, or a function that writes the instruction's address down. */
export function traceInstructions(
  { trace, layout, memory }: ActorContext,
  vcpu: number,
): { traceInstruction?: () => void } {
  if (trace?.exec !== true) return {};
  const rip = new BigUint64Array(memory.buffer, layout.vcpus[vcpu]!.state.offset + RIP, 1);
  return { traceInstruction: () => trace.event('exec', `rip 0x${rip[0]!.toString(16)}`) };
}

function traceInterrupts(trace: Tracer, bus: MachineBus): void {
  const { lapic } = bus;
  const acknowledge = lapic.acknowledgeInterrupt.bind(lapic);
  lapic.acknowledgeInterrupt = () => {
    const vector = acknowledge();
    if (vector >= 0) trace.event('irq', `vector ${hex(vector)}`);
    return vector;
  };
}
