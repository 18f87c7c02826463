// `--trace`: what the guest does, line by line, for who develops guests. Channels: exec (every instruction's address; slow),
// mmio (ports and MMIO as vCPUs see them), irq (interrupts that vCPUs take), virtio (requests). All actors append whole
// lines to one file; a word in the arena counts the bytes, and when the limit is reached nobody writes any more.
// A line: milliseconds of the host's monotonic clock, actor, channel, text. Without --trace there is no tracer at all.
import { monotonicNs } from '#shared/base/clock.js';
import type { Region } from '#shared/base/region.js';

export const TRACE_CHANNELS = ['exec', 'mmio', 'irq', 'virtio'] as const;
export type TraceChannel = (typeof TRACE_CHANNELS)[number];

/** What an actor needs to know to trace; plain JSON. */
export interface TraceSeed {
  readonly channels: readonly TraceChannel[];
  /** Open for appending. */
  readonly fd: number;
  readonly limitBytes: number;
}

export const TRACE_BUDGET_BYTES = 64;

export interface Tracer {
  readonly exec: boolean;
  readonly mmio: boolean;
  readonly irq: boolean;
  readonly virtio: boolean;
  /** Writes a line; callers look at the channel's flag first, so that the text is made only when it is wanted. */
  event(channel: TraceChannel, text: string): void;
}

/** `append`: writes a whole line to the trace's file. */
export function createTracer(
  seed: TraceSeed | undefined,
  actor: string,
  i32: Int32Array,
  budget: Region | undefined,
  append: (line: string) => void,
): Tracer | undefined {
  if (seed === undefined || budget === undefined) return undefined;
  const index = budget.offset >>> 2;
  const has = (channel: TraceChannel): boolean => seed.channels.includes(channel);
  return {
    exec: has('exec'),
    mmio: has('mmio'),
    irq: has('irq'),
    virtio: has('virtio'),
    event: (channel, text) => {
      const line = `${(monotonicNs() / 1e6).toFixed(3)} ${actor} ${channel} ${text}\n`;
      if (Atomics.load(i32, index) + line.length > seed.limitBytes) return;
      if (Atomics.add(i32, index, line.length) + line.length <= seed.limitBytes) append(line);
    },
  };
}

/** A number as traces show it. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
