// What the death of a disk costs the guest that uses it: a Linux guest under load, and the disk's actor killed once a second in every
// other window of time. Tells the share of the throughput that is lost, and how long a replacement takes. One load is bound by the
// disk alone, two readers; the other is the workload of `troupe chaos`, which writes, flushes, reads back and checks what it reads.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { quantilesOf } from '#kernel/chaos/chaos-summary.js';
import { WORKLOAD_PATH, makeWorkload } from '#kernel/chaos/workload.js';
import { Session } from '#kernel/session.js';

const DISK = 'virtio-blk-0';
const DISK_BYTES = 64 * 2 ** 20;
const READERS = 2;
const KILL_MS = 1000;
const WINDOW_MS = 5000;
/** Each with kills and without. */
const WINDOWS_A_TURN = 3;
const WARM_UP_MS = 5000;
/** Longer than any bench takes: the guest ends with it. */
const WORKLOAD_SECONDS = 3600;

interface Load {
  readonly name: string;
  /** Goes on in the guest when it resolves. */
  start(session: Session): Promise<void>;
}

const LOADS: readonly Load[] = [
  {
    name: `${READERS} readers`,
    start: async (session) => {
      const reader = 'while :; do dd if=/dev/vda of=/dev/null bs=16k iflag=direct 2>/dev/null; done';
      await session.exec(`for n in $(seq ${READERS}); do (${reader}) & done`);
    },
  },
  {
    name: 'the workload of troupe chaos',
    start: async (session) => {
      const { program } = await makeWorkload();
      await session.exec(`cat >${WORKLOAD_PATH} && chmod +x ${WORKLOAD_PATH}`, {
        stdin: Readable.from([program]),
      });
      await session.exec(`${WORKLOAD_PATH} /dev/vda ${WORKLOAD_SECONDS} 1 </dev/null >/dev/null &`);
    },
  },
];

/** Sectors that were read and written so far; Linux's Documentation/block/stat.rst. */
async function sectorsMoved(session: Session): Promise<number> {
  let text = '';
  const onStdout = (bytes: Uint8Array): void => void (text += Buffer.from(bytes).toString());
  await session.exec('cat /sys/block/vda/stat', { onStdout });
  const fields = text.trim().split(/\s+/).map(Number);
  return fields[2]! + fields[6]!;
}

/** MB/s over one window. */
async function diskRate(session: Session, withKills: boolean): Promise<number> {
  const before = await sectorsMoved(session);
  const startedMs = performance.now();
  const kills = setInterval(() => void session.kill(DISK), KILL_MS);
  if (!withKills) clearInterval(kills);
  await delay(WINDOW_MS);
  clearInterval(kills);
  const sectors = (await sectorsMoved(session)) - before;
  return (sectors * 512) / 1000 / (performance.now() - startedMs);
}

export async function benchRecovery(turns: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  const path = join(folder, 'disk.img');
  try {
    writeFileSync(path, '');
    truncateSync(path, DISK_BYTES);
    for (const load of LOADS) await benchLoad(load, path, turns);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function benchLoad({ name, start }: Load, path: string, turns: number): Promise<void> {
  const downMs: number[] = [];
  const session = await Session.open({
    disks: [{ path }],
    execPorts: true,
    supervision: { intensity: 1000 },
    log: { level: 'silent' },
    onActorEvent: (event) => {
      if (event.type === 'actor:restart' && event.actor === DISK) downMs.push(event.downMs);
    },
  });
  try {
    await start(session);
    await delay(WARM_UP_MS);
    const rates: Record<'with' | 'without', number[]> = { with: [], without: [] };
    const losses: number[] = [];
    for (let i = 0; i < turns * WINDOWS_A_TURN; i++) {
      for (const kind of i % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const))
        rates[kind].push(await diskRate(session, kind === 'with'));
      // Neighbours in time: a shared host's speed changes over minutes.
      losses.push(1 - rates.with[i]! / rates.without[i]!);
    }
    const [killed, whole] = [quantilesOf(rates.with).p50, quantilesOf(rates.without).p50];
    const lost = (quantilesOf(losses).p50 * 100).toFixed(1);
    const { count, p50, p99, max } = quantilesOf(downMs);
    process.stdout.write(
      `\n${DISK} under ${name}: ${whole.toFixed(1)} MB/s; killed each second ${killed.toFixed(1)} MB/s, ${lost} % lost ` +
        `(medians of ${rates.with.length} pairs of windows)\n` +
        `${count} recoveries: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, longest ${max.toFixed(0)} ms\n`,
    );
  } finally {
    await session.stop();
  }
}
