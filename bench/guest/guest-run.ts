// One turn of one machine: boots it, follows what its guest says, and looks at its process meanwhile.
import { createInterface } from 'node:readline';
import { endChild, startChild } from '../compare/children.js';
import type { Command } from '../compare/contestants.js';
import { coresUsed, readProcessUse, type ProcessUse } from '../compare/process-use.js';
import { ClockComparison, parseGuestLine, type GuestLine } from './guest-lines.js';

/** No line for this long means that the guest hangs. */
const SILENCE_MS = 180_000;
/** After the boot: what that asked to have compiled, and the garbage it left, are no cost of an idle guest. */
const IDLE_SETTLES_MS = 30_000;
const IDLE_MEASURED_MS = 10_000;
/** How long a guest must be idle to be measured so. */
export const IDLE_SECONDS = (IDLE_SETTLES_MS + IDLE_MEASURED_MS) / 1000 + 1;
const TAIL_LINES = 5;

export interface RunResult {
  /** By row. */
  readonly values: Map<string, number>;
  /** Cores that the machine kept busy, by row: under 1 means that a row that computes had to wait for other work of the host. */
  readonly cores: Map<string, number>;
  /** One line each. */
  readonly failures: string[];
  /** Speed of the guest's clock by the host's. */
  clockRatio: number | undefined;
}

export interface RunPlan {
  readonly command: Command;
  /** Benchmarks that the guest was told to run. */
  readonly names: readonly string[];
  readonly vcpus: number;
  readonly onProgress: (text: string) => void;
}

/** Runs to the end of the process. What goes wrong is in the result. */
export async function runGuest(plan: RunPlan): Promise<RunResult> {
  const child = startChild(plan.command);
  const follower = new Follower(plan, child.pid ?? 0);
  const { failures } = follower.result;
  let silence: NodeJS.Timeout | undefined;
  const onLine = (line: string): void => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      failures.push(`silent for ${SILENCE_MS / 1000} s, so it was ended`);
      endChild(child);
    }, SILENCE_MS);
    follower.take(line);
  };
  onLine('');
  createInterface({ input: child.stdout }).on('line', onLine);
  createInterface({ input: child.stderr }).on('line', onLine);
  await new Promise<void>((resolve) => {
    child.once('error', (error) => failures.push(`cannot run: ${error.message}`));
    child.once('close', () => resolve());
  });
  clearTimeout(silence);
  return follower.end();
}

/** Makes a result of what a guest says and of what its process uses. */
class Follower {
  readonly result: RunResult = { values: new Map(), cores: new Map(), failures: [], clockRatio: undefined };
  readonly #plan: RunPlan;
  readonly #pid: number;
  readonly #startedMs = performance.now();
  readonly #clocks = new ClockComparison();
  readonly #wrong = new Set<string>();
  readonly #tail: string[] = [];
  /** At the guest's last word about its clock, which is where a row begins and ends. */
  #use: ProcessUse | undefined;
  #row: string | undefined;

  constructor(plan: RunPlan, pid: number) {
    this.#plan = plan;
    this.#pid = pid;
  }

  take(line: string): void {
    this.#tail.push(line.trim());
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
    const said = parseGuestLine(line);
    if (said !== undefined) this.#follow(said);
  }

  /** A benchmark that said nothing at all has failed too. */
  end(): RunResult {
    const { values, failures } = this.result;
    this.result.clockRatio = this.#clocks.ratio();
    const missing = this.#plan.names.filter((name) => !values.has(name) && !this.#wrong.has(name));
    if (missing.length > 0)
      failures.push(`no result for ${missing.join(', ')}; last it said: ${this.#tail.join(' / ')}`);
    return this.result;
  }

  #follow(said: GuestLine): void {
    switch (said.kind) {
      case 'up':
        this.#report('boot', (performance.now() - this.#startedMs) / 1000, 's');
        break;
      case 'idle':
        this.#watchIdle();
        break;
      case 'clock':
        this.#clocks.add(said.ns / 1e6, performance.now());
        this.#endRow();
        break;
      case 'value':
        this.#row = said.name;
        this.#report(said.name, said.value, said.unit);
        break;
      case 'wrong':
        this.#wrong.add(said.name);
        this.result.failures.push(`${said.name} is wrong: ${said.why}`);
        this.#plan.onProgress(`${said.name} WRONG: ${said.why}`);
        break;
      case 'done':
        break;
    }
  }

  #report(name: string, value: number, unit: string): void {
    this.result.values.set(name, value);
    this.#plan.onProgress(`${name} ${Number(value.toPrecision(4))} ${unit}`);
  }

  #endRow(): void {
    const before = this.#use;
    this.#use = readProcessUse(this.#pid);
    if (this.#row !== undefined && before !== undefined && this.#use !== undefined)
      this.result.cores.set(this.#row, coresUsed(before, this.#use));
    this.#row = undefined;
  }

  #watchIdle(): void {
    setTimeout(() => {
      const before = readProcessUse(this.#pid);
      setTimeout(() => {
        const after = readProcessUse(this.#pid);
        if (before === undefined || after === undefined) return;
        this.#report('idle', (coresUsed(before, after) / this.#plan.vcpus) * 100, '%');
        this.#report('rss', after.rssBytes / 1e6, 'MB');
      }, IDLE_MEASURED_MS);
    }, IDLE_SETTLES_MS);
  }
}
