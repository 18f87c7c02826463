// The device's side of a virtqueue: every rule a driver can break is a value, never a throw; and a model test in which any
// sequence of offers, completions in any order, and deaths gives every chain back exactly once.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InjectedFault } from '#shared/ipc/failpoint.js';
import * as R from '#shared/ipc/vring.js';
import { viewArena, type ArenaViews } from '#shared/memory/arena.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import { DescriptorChain } from '#shared/virtio/descriptor-chain.js';
import { DeviceQueue } from '#shared/virtio/queue.js';
import * as S from '#shared/virtio/queue-state.js';
import { DriverQueue } from '../../../support/mock-driver.js';

const RAM_OFFSET = 0x1_0000;
const RAM_BYTES = 0x10_0000;
const RING_GPA = 0x1000;
const BUFFERS_GPA = 0x1_0000;
const SIZE = 8;

class QueueBench {
  readonly views: ArenaViews;
  readonly ram: GuestMemory;
  readonly driver: DriverQueue;
  queue!: DeviceQueue;
  chain!: DescriptorChain;
  hits = 0;
  killAt = Infinity;
  #nextGpa = BUFFERS_GPA;

  constructor() {
    this.views = viewArena({ buffer: new SharedArrayBuffer(RAM_OFFSET + RAM_BYTES) });
    this.ram = new GuestMemory(this.views.buffer, {
      ramOffset: RAM_OFFSET,
      lowBytes: RAM_BYTES,
      highBytes: 0,
    });
    this.driver = new DriverQueue(this.views, this.ram, SIZE, RING_GPA, (bytes) => {
      const gpa = this.#nextGpa;
      this.#nextGpa = gpa + 0x4000 > RAM_BYTES ? BUFFERS_GPA : (gpa + bytes + 15) & ~15;
      return gpa;
    });
    this.makeDevice();
    this.queue.reset(0xffff);
    this.program(SIZE, this.driver.gpa);
  }

  /** A generation of the device. */
  makeDevice(): void {
    const failpoint = (): 'none' => {
      if (++this.hits === this.killAt) {
        this.killAt = Infinity;
        throw new InjectedFault('here');
      }
      return 'none';
    };
    this.queue = new DeviceQueue({ views: this.views, ram: this.ram, failpoint }, 0, SIZE);
    this.queue.eventIdx = true;
    this.queue.indirect = true;
    this.chain = new DescriptorChain(this.views, this.ram);
  }

  program(size: number, gpa: { desc: number; avail: number; used: number }): void {
    this.queue.set(S.QUEUE_SIZE, size);
    this.queue.set(S.QUEUE_DESC, gpa.desc);
    this.queue.set(S.QUEUE_DRIVER, gpa.avail);
    this.queue.set(S.QUEUE_DEVICE, gpa.used);
  }

  desc(index: number, addr: number, len: number, flags: number, next = 0, addrHi = 0): void {
    R.writeDesc(this.views, this.driver.ring, index, addr, addrHi, len, flags, next);
  }

  offer(head: number): void {
    R.writeAvailEntry(this.views, this.driver.ring, 0, head);
    R.publishAvailIdx(this.views, this.driver.ring, 1);
  }
}

const { VIRTQ_DESC_F_NEXT: NEXT, VIRTQ_DESC_F_WRITE: WRITE, VIRTQ_DESC_F_INDIRECT: INDIRECT } = R;

describe('queue set-up', () => {
  const gpa = { desc: 0x1000, avail: 0x2000, used: 0x3000 };
  for (const [name, size, places, error] of [
    ['no entries', 0, gpa, 'queue-size'],
    ['a size that is no power of two', 6, gpa, 'queue-size'],
    ['more entries than the device has', 16, gpa, 'queue-size'],
    ['a descriptor table out of alignment', 8, { ...gpa, desc: 0x1008 }, 'queue-address'],
    ['an available ring out of alignment', 8, { ...gpa, avail: 0x2001 }, 'queue-address'],
    ['a used ring out of alignment', 8, { ...gpa, used: 0x3002 }, 'queue-address'],
    ['a table past the end of RAM', 8, { ...gpa, desc: RAM_BYTES - 64 }, 'queue-address'],
    ['a used ring outside RAM', 8, { ...gpa, used: 0xfff0_0000 }, 'queue-address'],
  ] as const) {
    it(`refuses ${name}`, () => {
      const bench = new QueueBench();
      bench.program(size, places);
      expect(bench.queue.open()).toBe(error);
      expect(bench.queue.isOpen).toBe(false);
    });
  }

  it('takes a good one', () => {
    const bench = new QueueBench();
    expect(bench.queue.open()).toBeUndefined();
    expect(bench.queue.take(bench.chain)).toEqual({ kind: 'empty' });
  });
});

describe('what a driver can do wrong with a chain', () => {
  const cases: [string, (b: QueueBench) => void, string][] = [
    ['head-out-of-range', (b) => b.offer(SIZE), 'a head past the table'],
    ['next-out-of-range', (b) => b.desc(0, 0x8000, 4, NEXT, SIZE), 'a next past the table'],
    ['desc-loop', (b) => b.desc(0, 0x8000, 4, NEXT, 0), 'a descriptor that follows itself'],
    ['desc-empty', (b) => b.desc(0, 0x8000, 0, 0), 'an empty buffer'],
    ['desc-out-of-range', (b) => b.desc(0, RAM_BYTES - 2, 4, 0), 'a buffer past the end of RAM'],
    ['desc-out-of-range', (b) => b.desc(0, 0x8000, 4, 0, 0, 1), 'an address above 4 GiB'],
    ['desc-out-of-range', (b) => b.desc(0, 0xffff_ffff, 4, 0, 0, 0xffff_ffff), 'an address that wraps'],
    [
      'desc-order',
      (b) => {
        b.desc(0, 0x8000, 4, WRITE | NEXT, 1);
        b.desc(1, 0x8000, 4, 0);
      },
      'a readable buffer after a writable one',
    ],
    ['indirect-with-next', (b) => b.desc(0, 0x8000, 16, INDIRECT | NEXT, 1), 'an indirect table with a next'],
    ['indirect-length', (b) => b.desc(0, 0x8000, 24, INDIRECT), 'a table of a part of a descriptor'],
    ['indirect-length', (b) => b.desc(0, 0x8000, 0, INDIRECT), 'an empty table'],
    ['indirect-out-of-range', (b) => b.desc(0, RAM_BYTES - 8, 16, INDIRECT), 'a table past the end of RAM'],
    [
      'indirect-nested',
      (b) => {
        b.desc(0, 0x8000, 16, INDIRECT);
        b.ram.writeU32(0x8008, 16);
        b.ram.writeU16(0x800c, INDIRECT);
      },
      'a table in a table',
    ],
    [
      'next-out-of-range',
      (b) => {
        b.desc(0, 0x8000, 16, INDIRECT);
        b.ram.writeU32(0x8008, 16);
        b.ram.writeU32(0x800c, NEXT | (1 << 16));
      },
      'a next past its indirect table',
    ],
    [
      'indirect-not-negotiated',
      (b) => {
        b.queue.indirect = false;
        b.desc(0, 0x8000, 16, INDIRECT);
      },
      'an indirect table that was not negotiated',
    ],
    ['avail-jump', (b) => R.publishAvailIdx(b.views, b.driver.ring, SIZE + 1), 'an index that jumps'],
  ];
  for (const [error, arrange, name] of cases) {
    it(`${error}: ${name}`, () => {
      const bench = new QueueBench();
      bench.queue.open();
      bench.offer(0);
      arrange(bench);
      expect(bench.queue.take(bench.chain)).toEqual({ kind: 'error', error });
      expect(bench.queue.get(S.QUEUE_NEXT_AVAIL)).toBe(0);
    });
  }

  it('reads a chain of several tables and buffers whole', () => {
    const bench = new QueueBench();
    bench.queue.open();
    bench.driver.post([Uint8Array.of(1, 2, 3), Uint8Array.of(4), 5, 6], true);
    expect(bench.queue.take(bench.chain)).toEqual({ kind: 'taken' });
    const { readableBytes, writableBytes, count } = bench.chain;
    expect([readableBytes, writableBytes, count]).toEqual([4, 11, 4]);
    const target = new Uint8Array(8);
    expect(bench.chain.copyFromReadable(1, target)).toBe(3);
    expect([...target.subarray(0, 3)]).toEqual([2, 3, 4]);
    expect(bench.chain.copyToWritable(3, new Uint8Array(20))).toBe(8);
  });
});

describe('model: offers, completions in any order, and deaths', () => {
  type Step = { readonly kind: 'offer' | 'take' | 'complete' | 'driver' | 'kill'; readonly value: number };
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('offer', 'offer', 'take', 'take', 'complete', 'complete', 'driver', 'kill'),
    value: fc.nat(60),
  });

  it('gives every chain back once, with what was written for it', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => runModel(steps)),
      { numRuns: 300 },
    );
  });

  /** The device's requests in hand, as its own memory has them: lost with each generation. */
  interface Hand {
    readonly head: number;
    readonly chain: DescriptorChain;
  }

  function runModel(steps: readonly Step[]): void {
    const bench = new QueueBench();
    bench.queue.open();
    let hand: Hand[] = [];
    const offered = new Set<number>();
    const revive = (): void => {
      bench.makeDevice();
      expect(bench.queue.open()).toBeUndefined();
      bench.queue.recover(() => {});
      hand = [];
    };
    const survive = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        if (!(error instanceof InjectedFault)) throw error;
        revive();
      }
    };
    const take = (): boolean => {
      let taken = false;
      survive(() => {
        const chain = new DescriptorChain(bench.views, bench.ram);
        const result = bench.queue.take(chain);
        expect(result.kind).not.toBe('error');
        if (result.kind !== 'taken') return;
        hand.push({ head: chain.head, chain });
        taken = true;
      });
      return taken;
    };
    const complete = (which: number): void => {
      if (hand.length === 0) return;
      const [request] = hand.splice(which % hand.length, 1);
      survive(() => {
        request!.chain.copyToWritable(0, Uint8Array.of(request!.head + 1));
        bench.queue.complete(request!.chain, 1);
      });
    };
    const collect = (): void => {
      for (let used = bench.driver.take(); used !== undefined; used = bench.driver.take()) {
        expect(offered.delete(used.head)).toBe(true);
        expect(used.data[0]).toBe(used.head + 1);
      }
    };
    for (const { kind, value } of steps) {
      if (kind === 'offer') {
        const head = bench.driver.post([Uint8Array.of(value), 4], value % 2 === 0);
        if (head >= 0) offered.add(head);
      } else if (kind === 'take') take();
      else if (kind === 'complete') complete(value);
      else if (kind === 'driver') collect();
      else if (value % 3 === 0) revive();
      else bench.killAt = bench.hits + 1 + (value % 7);
    }
    bench.killAt = Infinity;
    revive();
    while (take());
    while (hand.length > 0) complete(0);
    collect();
    expect(offered.size).toBe(0);
    expect(bench.driver.freeDescriptors).toBe(SIZE);
  }
});
