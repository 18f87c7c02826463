// Machines in this process from a payload, and the move of a running guest from one to another, whatever their engines: RAM, the
// vCPUs' states and the chipset's. Devices stay where they are: the payload keeps none busy.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHIPSET_NAME, CONSOLE_NAME, buildMachine, type BuiltMachine } from '#kernel/builder.js';
import { Machine, type MachineExit } from '#kernel/machine.js';
import { resolveConfig, type MachineOptions } from '#kernel/machine-config.js';
import { silentLogger } from '#shared/ipc/log.js';
import { vcpuName } from '#shared/memory/machine-layout.js';

export interface PayloadMachine {
  readonly machine: Machine;
  /** What it has printed on COM1. */
  output(): string;
  /** What it has printed on virtio-console. */
  terminal(): string;
  /** Until it ends by itself. */
  wait(): Promise<MachineExit>;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

/** Built and started. `prepare` changes the machine before it starts. */
export async function startPayload(
  options: MachineOptions,
  prepare: (built: BuiltMachine) => void = () => {},
): Promise<PayloadMachine> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-payload-'));
  const path = join(directory, 'serial');
  const serial = openSync(path, 'w');
  const built = await buildMachine(resolveConfig({ memory: '32M', serial, console: 'kernel', ...options }));
  prepare(built);
  const machine = new Machine(built, silentLogger);
  const terminal: Uint8Array[] = [];
  machine.onOutput(CONSOLE_NAME, (_kind, bytes) => void terminal.push(Uint8Array.from(bytes)));
  await machine.start();
  return {
    machine,
    output: () => readFileSync(path, 'utf8'),
    terminal: () => Buffer.concat(terminal).toString(),
    wait: () => machine.wait(),
    close: async () => {
      await machine.stop();
      closeSync(serial);
      rmSync(directory, { recursive: true });
    },
  };
}

interface MovedState {
  readonly ram: Uint8Array;
  readonly actors: ReadonlyMap<string, Uint8Array>;
}

function ramOf({ views, layout }: Machine): Uint8Array {
  const { ramOffset, lowBytes, highBytes } = layout.ram;
  return views.u8.subarray(ramOffset, ramOffset + lowBytes + highBytes);
}

function movedActors({ layout }: Machine): string[] {
  return [CHIPSET_NAME, ...layout.vcpus.map((_, i) => vcpuName(i))];
}

/** Of a paused machine. */
export async function takeState(machine: Machine): Promise<MovedState> {
  const actors = new Map<string, Uint8Array>();
  for (const actor of movedActors(machine)) actors.set(actor, await machine.saveActor(actor));
  return { ram: Uint8Array.from(ramOf(machine)), actors };
}

/** Into a paused machine of the same shape; what its own guest did is gone. */
export async function putState(machine: Machine, state: MovedState): Promise<void> {
  ramOf(machine).set(state.ram);
  for (const actor of movedActors(machine)) await machine.restoreActor(actor, state.actors.get(actor)!);
}
