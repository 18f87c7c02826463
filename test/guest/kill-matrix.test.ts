// The whole kill matrix under a payload that drives virtio-blk, virtio-console and virtio-rng, on both engines: each failpoint that
// it passes is struck by each fault, and its lines, its disk and its own checks come out as if nothing had happened.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cellName, cellRule, killMatrix, type MatrixCell } from '#kernel/chaos/kill-matrix.js';
import type { Machine } from '#kernel/machine.js';
import { FAULT_ACTIONS, loadFaultStrikes, type FaultAction, type FaultRule } from '#shared/ipc/fault-plan.js';
import { buildGuestKernel, type GuestKernel } from '../support/guest-kernel.js';
import { missingKvm } from '../support/kvm.js';
import { startPayload } from '../support/machine-move.js';
import { expectedDisk, expectedLines, VIRTIO_CHECK_DISK_BYTES } from '../support/virtio-check.js';

const FULL = process.env['TROUPE_TEST_FULL'] === '1';
/** Every way to die comes to the same replacement; all of them in a full run. */
const ACTIONS: readonly FaultAction[] = FULL ? FAULT_ACTIONS : ['crash', 'drop', 'duplicate', 'corrupt'];
const ROUNDS = 100;
const STRIKES = 1;
const EVERY = 7;
const SEED = 21;

let kernel: GuestKernel;
let directory: string;

beforeAll(() => {
  kernel = buildGuestKernel('virtio-check', 64, 'bare64');
  directory = mkdtempSync(join(tmpdir(), 'troupe-matrix-'));
});

afterAll(() => {
  if ('directory' in kernel) rmSync(kernel.directory, { recursive: true });
  rmSync(directory, { recursive: true });
});

/** The compiler has work under one of the engines alone. */
const cellsOf = (action: FaultAction): MatrixCell[] =>
  killMatrix().filter((cell) => cell.action === action && cell.kind !== 'compiler');

/** Of the cell with this index among the rules, in all actors of its kind. */
function strikesOf({ views, layout }: Machine, cell: MatrixCell, index: number): number {
  return Object.entries(layout.actors)
    .filter(([name]) => name.replace(/-\d+$/, '') === cell.kind)
    .reduce((sum, [, { faults }]) => sum + loadFaultStrikes(views.i32, faults, index).strikes, 0);
}

/** Passed once by an actor that starts: a machine whose actor fails at its first start does not start. */
const STARTING = ['start', 'reset.begun', 'flush'];

/** Strikes at the first hit that the guest is there for. */
function ruleOf(cell: MatrixCell): FaultRule {
  const after = STARTING.includes(cell.point) ? 2 : 1;
  return cellRule(cell, { after, every: EVERY, times: STRIKES });
}

/** The cells of `action` that were struck. */
async function strike(path: string, accel: 'wasm' | 'kvm', action: FaultAction): Promise<string[]> {
  const cells = cellsOf(action);
  const disk = join(directory, `${accel}-${action}.img`);
  writeFileSync(disk, new Uint8Array(VIRTIO_CHECK_DISK_BYTES));
  const payload = await startPayload({
    kernel: path,
    accel,
    vcpus: 1,
    disks: [{ path: disk }],
    append: `rounds=${ROUNDS}`,
    supervision: { intensity: 100_000, heartbeatMs: 100 },
    faults: { seed: SEED, rules: cells.map(ruleOf) },
  });
  try {
    expect(await payload.wait(), payload.output()).toEqual({ kind: 'debug-exit', code: 1 });
    expect(payload.terminal()).toBe(expectedLines(ROUNDS));
    expect(Buffer.compare(readFileSync(disk), expectedDisk(ROUNDS))).toBe(0);
    return cells.filter((cell, index) => strikesOf(payload.machine, cell, index) > 0).map(cellName);
  } finally {
    await payload.close();
  }
}

for (const action of ACTIONS) {
  test(`${action} at every point, under both engines`, async (context) => {
    if ('missing' in kernel) return context.skip(kernel.missing);
    const wasm = await strike(kernel.path, 'wasm', action);
    // The rest needs input, another console or messages that this guest has no reason for.
    expect(wasm.length).toBeGreaterThanOrEqual(cellsOf(action).length / 2);
    const missing = missingKvm();
    if (missing !== undefined) return context.skip(`under wasm alone: ${missing}`);
    const kvm = await strike(kernel.path, 'kvm', action);
    console.log(`${action}: ${wasm.length} of ${cellsOf(action).length} cells struck, under both engines`);
    expect(kvm).toEqual(wasm);
  });
}
