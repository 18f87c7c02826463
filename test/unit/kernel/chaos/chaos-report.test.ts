import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatHtml, formatJunit, type ChaosReport } from '#kernel/chaos/chaos-report.js';
import type { ChaosRun } from '#kernel/chaos/chaos-run.js';
import { readChaosPlan } from '#kernel/chaos/chaos-plan.js';
import { quantilesOf, summarize } from '#kernel/chaos/chaos-summary.js';
import { killMatrix } from '#kernel/chaos/kill-matrix.js';
import { makeWorkload, sumDisk } from '#kernel/chaos/workload.js';
import { checkFaultRule } from '#shared/ipc/fault-plan.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-report-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const base = { actor: 'virtio-blk-0', kind: 'virtio-blk' } as const;
const run: ChaosRun = {
  seed: 7,
  passed: false,
  failures: ['disk: torn block <3> & "4"'],
  durationMs: 1000,
  longestStallMs: 12,
  counts: { writes: 5 },
  messagesMended: 2,
  events: [
    { type: 'fault', atMs: 10, ...base, action: 'crash', rule: 'virtio-blk-0: crash', count: 2 },
    {
      type: 'actor:exit',
      atMs: 12,
      ...base,
      generation: 1,
      reason: { kind: 'exit', code: 134 },
      message: 'm',
    },
    { type: 'actor:restart', atMs: 20, ...base, generation: 2, downMs: 8, fromSpare: true },
  ],
};
const report = (runs: ChaosRun[]): ChaosReport => ({
  planPath: 'plan.yaml',
  faults: ['virtio-blk-0: crash'],
  workload: 'verifier',
  summary: summarize(runs),
  runs,
});

describe('the chaos report', () => {
  it('sums up faults, recoveries and failures', () => {
    expect(summarize([run, { ...run, passed: true, failures: [], seed: 8 }])).toMatchObject({
      ...{ runs: 2, passed: 1, faults: 4, exits: 2, restarts: 2, messagesMended: 4, failedSeeds: [7] },
      faultsBy: { 'virtio-blk-0 crash': 4 },
      recoveryMs: { all: { count: 2, p50: 8, p99: 8, max: 8 } },
    });
    expect(quantilesOf([5, 1, 3, 2, 4])).toEqual({ count: 5, p50: 3, p99: 5, max: 5 });
    expect(quantilesOf([])).toEqual({ count: 0, p50: 0, p99: 0, max: 0 });
  });

  it('escapes what guests say, in XML and HTML', () => {
    const junit = formatJunit(report([run]));
    expect(junit).toContain('tests="1" failures="1"');
    expect(junit).toContain('torn block &#60;3&#62; &#38; &#34;4&#34;');
    expect(junit).toContain('--seed 7');
    const html = formatHtml(report([run]));
    expect(html).not.toContain('<3>');
    expect(html.match(/<rect /g)).toHaveLength(2);
  });
});

describe('a chaos plan', () => {
  it.each([
    ['faults: [ "uart: crash" ]\nduration: soon', /duration: soon is no time/],
    ['faults: [ "uart: crash" ]\ncolour: red', /'colour' is not known/],
    ['faults: [ "uart: explode" ]', /'explode' is no fault/],
    ['faults: [ { actor: uart, actoin: crash } ]', /no field 'actoin'/],
    ['faults: 3', /faults is not a list/],
    ['seed: x', /seed is not a whole number/],
    [': [', /plan/],
  ])('refuses %j', (text, message) => {
    const path = join(folder, 'plan.yaml');
    writeFileSync(path, text);
    expect(() => readChaosPlan(path)).toThrow(message);
  });

  it('fills in what it does not say', () => {
    const path = join(folder, 'plan.yaml');
    writeFileSync(path, 'seed: 3\nfaults:\n  - "uart: crash"\n  - { action: oom, actor: uart }\n');
    const plan = readChaosPlan(path);
    expect(plan).toMatchObject({ faults: { seed: 3 }, seconds: 20, smp: 2, memory: '256M' });
    expect(plan.faults.rules).toHaveLength(2);
  });
});

describe('the kill matrix', () => {
  it('holds rules that can be, each once', () => {
    const cells = killMatrix();
    cells.forEach((cell) => checkFaultRule({ actor: cell.kind, point: cell.point, action: cell.action }));
    expect(new Set(cells.map((cell) => JSON.stringify(cell))).size).toBe(cells.length);
    expect(cells.length).toBeGreaterThan(300);
  });
});

describe('the workload', () => {
  it(
    'passes on a disk that keeps its promises, and its sum is that of the image',
    { timeout: 60_000 },
    async ({ skip }) => {
      const workload = await makeWorkload();
      if (workload.kind !== 'verifier') skip('this host has no C compiler with a static C library');
      const program = join(folder, 'verifier');
      const disk = join(folder, 'disk.img');
      writeFileSync(program, workload.program, { mode: 0o755 });
      writeFileSync(disk, Buffer.alloc(2 ** 20));
      const output = execFileSync(program, [disk, '1', '7'], { encoding: 'utf8' });
      expect(output).toContain(`= disk ${sumDisk(readFileSync(disk))}`);
      expect(Number(/= writes (\d+)/.exec(output)![1])).toBeGreaterThan(0);
    },
  );
});
