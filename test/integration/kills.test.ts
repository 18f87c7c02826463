// Devices die under a guest that uses them, and it does not notice. virtio-blk, virtio-console and virtio-rng are killed
// KILLS times each, at random moments, while the stock guest on two vCPUs
//   - reads a 256 MiB disk with dd through sha256sum, and again with direct reads,
//   - writes random blocks to a second disk, each made durable by fsync,
//   - floods its terminal and a command's output with numbered lines, and reads a command's input,
//   - reads /dev/hwrng, and the devices' status registers.
// All sums must match on both sides, every line must come exactly once and in order, and the guest's kernel must have nothing
// to tell. Some kills strike an actor that is still starting; besides, the actors crash at failpoints now and then, and while the
// drivers start. Compiled code runs the guest ('auto'), for its sums.
// TROUPE_KILLS_SEED replays a run's disk and kill schedule (threads and guest are not deterministic).
import { createCipheriv, createHash } from 'node:crypto';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { ensureGuestAssets } from '#kernel/assets/guest-assets.js';
import { Session } from '#kernel/session.js';
import { TroupeError } from '#shared/base/error.js';
import { FAILPOINTS, type FailpointName } from '#shared/ipc/failpoint-catalogue.js';
import type { FaultRule } from '#shared/ipc/fault-plan.js';
import { createPrng, type Prng } from '#shared/base/prng.js';
import { NumberedLines } from '#kernel/chaos/numbered-lines.js';

const KINDS = ['virtio-blk', 'virtio-console', 'virtio-rng'];
const CRASHING = KINDS.map((kind) => `${kind}-0`);
/** No rule names the second disk: it serves in WebAssembly. */
const VICTIMS = [...CRASHING, 'virtio-blk-1'];
const KILLS = 50;
const SEED = Number(process.env['TROUPE_KILLS_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const MIB = 2 ** 20;
const DISK_MIB = Number(process.env['TROUPE_KILLS_MIB'] ?? 256);
/** Slots of the second disk, 1 MiB each. */
const SLOTS = 16;
/** Of a kill after the actor serves again; on average half of it. */
const LONGEST_GAP_MS = 800;
/** One kill of so many strikes while the actor starts, at most so late. */
const EARLY_KILLS = 5;
const EARLY_KILL_MS = 80;
const TEST_MS = 600_000;

/** Deaths between two stores of a device's, where a kill seldom finds it; and while the driver starts, which waits for registers. */
const POINTS = [
  ...[
    'inflight.set',
    'request.received',
    'request.executed',
    'used.writing',
    'used.written',
    'inflight.clearing',
  ],
  ...[
    'request.completed',
    'interrupt.sending',
    'output.posting',
    'output.posted',
    'input.consumed',
    'input.obeyed',
  ],
];
const CRASH_PROBABILITY = 0.001;
const CRASHES: FaultRule[] = [
  ...POINTS.map((point) => ({ point, probability: CRASH_PROBABILITY })),
  { point: 'status.written', generation: 1, after: 2 },
  { point: 'queue.enabled', generation: 2 },
  { point: 'status.written', generation: 3 },
].flatMap((rule) =>
  CRASHING.filter((_, i) => kindsPassing(rule.point).includes(KINDS[i]!)).map((actor): FaultRule => ({
    actor,
    action: 'crash',
    ...rule,
  })),
);

function kindsPassing(point: string): readonly string[] {
  const { kinds } = FAILPOINTS[point as FailpointName];
  return kinds === 'all' ? KINDS : kinds;
}

/** What Linux says when its vCPUs wait for a processor of the host. */
const BUSY_HOST = /hrtimer: interrupt took|hogged CPU/;

/** Lines of the report start with `=`; end of input ends the floods. */
const GUEST_SCRIPT = `
cd /run
dmesg -c >/dev/null
until_stop() { while [ ! -e stop ]; do "$@" || echo "= failed $*"; usleep 50000; done; }

dd if=/dev/vda bs=1M 2>/dev/null | sha256sum >disk.sum &

reread() {
  dd if=/dev/vda of=/dev/null bs=256k count=16 skip=$((reads % ${DISK_MIB / 4} * 16)) iflag=direct 2>/dev/null &&
  reads=$((reads + 1))
}
(reads=0; until_stop reread; echo "= reads $reads") &

rewrite() {
  slot=$((writes % ${SLOTS}))
  dd if=/dev/urandom of=block bs=64k count=16 2>/dev/null &&
  dd if=block of=/dev/vdb bs=64k seek=$((slot * 16)) conv=notrunc,fsync 2>/dev/null &&
  echo "= slot $slot $(sha256sum <block)" >>slots &&
  writes=$((writes + 1))
}
(writes=0; until_stop rewrite; echo "= writes $writes") &

entropy() {
  dd if=/dev/hwrng of=random bs=1k count=2 iflag=fullblock 2>/dev/null &&
  [ $(wc -c <random) = 2048 ] && entropies=$((entropies + 1))
}
(entropies=0; until_stop entropy; echo "= entropies $entropies") &

registers() {
  for device in /sys/bus/virtio/devices/*; do
    read -r status <$device/status
    [ $status = 0x0000000f ] || return
    looks=$((looks + 1))
  done
}
(looks=0; until_stop registers; echo "= looks $looks") &

flood() {
  burst=0
  while [ $burst -lt 100 ]; do burst=$((burst + 1)) n=$((n + 1)); echo "$1 $n"; done
}
(n=0; until_stop flood terminal >/dev/hvc0; echo "= terminal $n") &
(n=0; until_stop flood stdout; echo "= stdout $n") &

cat >input
touch stop
wait
echo "= disk $(cat disk.sum)"
echo "= input $(sha256sum <input)"
cat slots
dmesg | sed 's/^/= dmesg /'
echo 3 >/proc/sys/vm/drop_caches
echo "= second $(dd if=/dev/vdb bs=1M 2>/dev/null | sha256sum)"
`;

/** A disk of bytes that depend on the seed alone; returns their SHA-256. */
function makeDisk(path: string, mib: number): string {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, `${SEED}`), Buffer.alloc(16));
  const hash = createHash('sha256');
  const zeros = Buffer.alloc(MIB);
  const fd = openSync(path, 'w');
  for (let i = 0; i < mib; i++) {
    const bytes = cipher.update(zeros);
    hash.update(bytes);
    writeSync(fd, bytes);
  }
  closeSync(fd);
  return hash.digest('hex');
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

function generationOf(session: Session, actor: string): number {
  return session.actors().find((a) => a.name === actor)!.generation;
}

/** Kills an actor KILLS times: at a random moment after it serves again, now and then already while it starts. */
async function killOften(session: Session, actor: string, prng: Prng): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    if (prng.below(EARLY_KILLS) === 0) {
      await delay(prng.below(EARLY_KILL_MS));
    } else {
      await session.inspect(actor).catch(() => {}); // it may crash by a failpoint meanwhile
      await delay(prng.below(LONGEST_GAP_MS));
    }
    const generation = generationOf(session, actor);
    await session.kill(actor);
    while (generationOf(session, actor) === generation) await delay(1);
  }
}

/** Numbered lines for the guest until `stopped` says so; `sent` learns what they were. */
async function* feed(stopped: () => boolean, sent: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (let n = 1; !stopped(); n++) {
    const line = Buffer.from(`input ${n}\n`);
    sent.push(line);
    yield line;
    await delay(2);
  }
}

/** `= NAME VALUE` lines, values by name. */
function readReport(lines: readonly string[]): Map<string, string[]> {
  const report = new Map<string, string[]>();
  for (const line of lines) {
    const [, name, value] = /^= (\S+) ?(.*)$/.exec(line) ?? ['', '(noise)', line];
    report.set(name!, [...(report.get(name!) ?? []), value!]);
  }
  return report;
}

it(`survives ${KILLS} kills of each of its virtio devices`, { timeout: TEST_MS }, async (context) => {
  try {
    await ensureGuestAssets();
  } catch (error) {
    if (error instanceof TroupeError) return context.skip(error.message);
    throw error;
  }
  console.log(`kills: TROUPE_KILLS_SEED=${SEED}`);
  const directory = mkdtempSync(join(tmpdir(), 'troupe-kills-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const first = join(directory, 'first.img');
  const second = join(directory, 'second.img');
  const firstSum = makeDisk(first, DISK_MIB);
  writeFileSync(second, '');
  truncateSync(second, SLOTS * MIB);
  const terminal = new NumberedLines('terminal');
  const stdout = new NumberedLines('stdout');
  const stderr: Uint8Array[] = [];
  const sent: Uint8Array[] = [];
  const session = await Session.open({
    vcpus: 2,
    memory: '512M',
    tier: 'auto',
    execPorts: true,
    console: 'kernel',
    onConsole: (bytes) => terminal.push(bytes),
    disks: [{ path: first, readonly: true }, { path: second }],
    supervision: { intensity: 4 * KILLS, periodMs: 1000 },
    faults: { seed: SEED, rules: CRASHES },
    log: { level: 'error' },
  });
  let code: number;
  let generations: number[];
  const startedMs = performance.now();
  try {
    await session.ready();
    let killed = false;
    const command = session.exec(GUEST_SCRIPT, {
      stdin: feed(() => killed, sent),
      onStdout: (bytes) => stdout.push(bytes),
      onStderr: (bytes) => void stderr.push(bytes),
    });
    const kills = VICTIMS.map((actor, i) => killOften(session, actor, createPrng(SEED + i)));
    await Promise.race([Promise.all(kills), command]);
    await delay(100);
    killed = true;
    code = await command;
    generations = VICTIMS.map((actor) => generationOf(session, actor));
  } finally {
    await session.stop();
  }
  const report = readReport(stdout.others);
  const number = (name: string): number => Number(report.get(name)?.[0]);
  console.log(
    `kills: generations ${generations.join(', ')}; ${((performance.now() - startedMs) / 1000).toFixed(1)} s; ${terminal.count} lines on the terminal, ` +
      `${stdout.count} of output, ${sent.length} of input; ${number('reads')} direct reads of 4 MiB, ` +
      `${number('writes')} MiB written, ${number('entropies')} reads of hwrng, ${number('looks')} of device status`,
  );
  expect(Buffer.concat(stderr).toString()).toBe('');
  expect(code).toBe(0);
  expect(report.get('failed') ?? []).toEqual([]);
  expect(report.get('(noise)') ?? []).toEqual([]);
  // the terminal and the output: each line once, in order, up to the last one that the guest wrote
  expect([terminal.fault, terminal.unfinished, terminal.others]).toEqual([undefined, '', []]);
  expect([stdout.fault, stdout.unfinished]).toEqual([undefined, '']);
  expect([terminal.count, stdout.count]).toEqual([number('terminal'), number('stdout')]);
  expect(report.get('input')![0]).toBe(`${sha256(Buffer.concat(sent))}  -`);
  // the disks
  expect(report.get('disk')![0]).toBe(`${firstSum}  -`);
  const image = readFileSync(second);
  expect(report.get('second')![0]).toBe(`${sha256(image)}  -`);
  const slots = new Map(report.get('slot')!.map((line) => [line.split(' ')[0]!, line.split(' ')[1]!]));
  for (const [slot, sum] of slots) {
    const at = Number(slot) * MIB;
    expect(sha256(image.subarray(at, at + MIB)), `slot ${slot}`).toBe(sum);
  }
  // none of it was idle
  for (const name of ['reads', 'writes', 'entropies', 'looks', 'terminal', 'stdout']) {
    expect(number(name), name).toBeGreaterThan(5);
  }
  const log = report.get('dmesg') ?? [];
  expect(log.filter((line) => !BUSY_HOST.test(line))).toEqual([]);
});
