// Priorities of threads that start in the background, as the host's scheduler has them.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const MODULE = new URL('../../../../dist/kernel/supervision/background-start.js', import.meta.url).href;
/** Prints the nice values of a thread that started in the background, of another one, and of the first after it was raised. */
const SCRIPT = `
const { startInBackground } = await import(${JSON.stringify(MODULE)});
const { Worker } = await import('node:worker_threads');
const { getPriority } = await import('node:os');
const { readdirSync } = await import('node:fs');
const ids = () => readdirSync('/proc/self/task').map(Number);
const start = () => new Worker('setInterval(() => {}, 1000)', { eval: true });
const nices = [];
for (let i = 0; i < 2; i++) {
  const before = new Set(ids());
  const { started, raise } = startInBackground(start);
  const tid = ids().find((id) => !before.has(id));
  nices.push(getPriority(tid));
  raise();
  nices.push(getPriority(tid));
  await started.terminate();
  raise();
}
process.stdout.write(JSON.stringify(nices));
`;
const node = [process.execPath, '--input-type=module', '-e', SCRIPT];
const WITHOUT_RIGHT = ['setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice'];
const CAP_SYS_NICE = 23n;
const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
const mayRaise = ((BigInt(`0x${effective}`) >> CAP_SYS_NICE) & 1n) === 1n;
const canDrop = mayRaise && existsSync('/usr/bin/setpriv');
if (!canDrop)
  console.log('background-start skipped in part: no CAP_SYS_NICE here, or no setpriv to give it up');

function nices([program, ...args]: readonly string[]): unknown {
  return JSON.parse(execFileSync(program!, args, { encoding: 'utf8' }));
}

it.runIf(mayRaise)('starts a thread behind all others and gives it their priority when it is needed', () => {
  expect(nices(node)).toEqual([10, 0, 10, 0]);
});

it.runIf(mayRaise)('knows the priority of its own process', () => {
  expect(nices(['nice', '-n', '5', ...node])).toEqual([15, 5, 15, 5]);
});

it.runIf(canDrop)('leaves a thread alone where its priority could not be raised again', () => {
  expect(nices([...WITHOUT_RIGHT, ...node])).toEqual([1, 1, 0, 0]);
});
