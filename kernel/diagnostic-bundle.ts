// What is kept of a machine that supervision had to give up: a folder with bundle.json (why, what happened to the actors, the faults
// that were planned, registers, layout) and arena.img, the arena as it stood: guest RAM, device and vCPU state, mailboxes. The image
// is sparse, and leaves out what can be made again (decoded code, TLBs).
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { FaultPlan } from '#shared/ipc/fault-plan.js';
import type { MailboxCounts } from '#shared/ipc/mailbox-layout.js';
import type { ArenaViews } from '#shared/memory/arena.js';
import type { MachineLayout, VcpuLayout } from '#shared/memory/machine-layout.js';
import * as S from '#shared/x86/cpu-state.js';
import type { ActorEvent } from './supervision/actor-event.js';
import type { ActorStatus } from './supervision/child.js';

export interface BundleFacts {
  readonly reason: string;
  readonly actors: readonly ActorStatus[];
  readonly events: readonly ActorEvent[];
  readonly faults: FaultPlan;
  readonly mailboxes: ReadonlyMap<string, MailboxCounts>;
}

/** Older ones make room. */
const MAX_BUNDLES = 3;
const CHUNK_BYTES = 64 * 1024;
const PREFIX = 'bundle-';

/** Writes a bundle into a new folder in `parent`; gives its path. */
export function writeBundle(
  parent: string,
  views: ArenaViews,
  layout: MachineLayout,
  facts: BundleFacts,
): string {
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  removeOldBundles(parent);
  const stamp = new Date().toISOString().replace(/[:.]/g, '-');
  const folder = join(parent, `${PREFIX}${stamp}-${process.pid}`);
  mkdirSync(folder, { mode: 0o700 });
  const told = {
    ...facts,
    writtenAt: new Date().toISOString(),
    node: process.version,
    mailboxes: Object.fromEntries(facts.mailboxes),
    vcpus: layout.vcpus.map((vcpu) => describeVcpu(views, vcpu)),
    layout,
  };
  writeFileSync(join(folder, 'bundle.json'), `${JSON.stringify(told, undefined, 2)}\n`);
  writeArena(join(folder, 'arena.img'), views.u8, layout);
  return folder;
}

function removeOldBundles(parent: string): void {
  const bundles = readdirSync(parent)
    .filter((name) => name.startsWith(PREFIX))
    .sort();
  for (const name of bundles.slice(0, Math.max(0, bundles.length - MAX_BUNDLES + 1)))
    rmSync(join(parent, name), { recursive: true, force: true });
}

function writeArena(path: string, u8: Uint8Array, layout: MachineLayout): void {
  const caches = layout.vcpus.flatMap((vcpu) => [vcpu.tlb, vcpu.jumpCache, vcpu.codeCache]);
  const isCache = (at: number): boolean =>
    caches.some(({ offset, bytes }) => at >= offset && at + CHUNK_BYTES <= offset + bytes);
  const fd = openSync(path, 'wx', 0o600);
  try {
    ftruncateSync(fd, layout.arenaBytes);
    const words = new BigInt64Array(u8.buffer);
    for (let at = 0; at < layout.arenaBytes; at += CHUNK_BYTES) {
      const end = Math.min(at + CHUNK_BYTES, layout.arenaBytes);
      if (isCache(at) || isZero(words, at >>> 3, end >>> 3)) continue;
      writeSync(fd, u8.subarray(at, end), 0, end - at, at);
    }
  } finally {
    closeSync(fd);
  }
}

function isZero(words: BigInt64Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (words[i] !== 0n) return false;
  return true;
}

const GENERAL = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
const CONTROL = { cr0: S.CR0, cr2: S.CR2, cr3: S.CR3, cr4: S.CR4, efer: S.EFER, rip: S.RIP } as const;
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

/** Registers as hex; `exact` says whether they are of an instruction boundary. */
function describeVcpu(views: ArenaViews, { state }: VcpuLayout): Record<string, unknown> {
  const view = new DataView(views.buffer, state.offset, state.bytes);
  const hex = (offset: number): string => `0x${view.getBigUint64(offset, true).toString(16)}`;
  const registers: Record<string, string> = {};
  for (let i = 0; i < 16; i++) registers[GENERAL[i] ?? `r${i}`] = hex(S.GPR + 8 * i);
  for (const [name, offset] of Object.entries(CONTROL)) registers[name] = hex(offset);
  SEGMENTS.forEach((name, i) => {
    const selector = view.getUint16(S.SEGMENT + i * S.SEGMENT_BYTES + S.SEGMENT_SELECTOR, true);
    registers[name] = `0x${selector.toString(16)}`;
  });
  return {
    exact: view.getInt32(S.INSIDE_ENGINE, true) === 0,
    activity: view.getInt32(S.ACTIVITY, true),
    pending: view.getInt32(S.PENDING, true),
    cpl: view.getInt32(S.CPL, true),
    registers,
  };
}
