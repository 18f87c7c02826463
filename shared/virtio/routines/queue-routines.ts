// A split virtqueue's requests in generated code: chains are walked and checked, taken and completed as queue.ts and
// descriptor-chain.ts do it, in the same order of stores, for the requests that drivers make. What is unusual (any error of the
// guest's, too) is left as it was found, for TypeScript to look at. virtio-v1.2 §2.7.
import { CODE_MAP_CODE_OWNERS, CODE_MAP_ENTRY_BYTES } from '#shared/memory/code-map.js';
import { HIGH_RAM_START } from '#shared/memory/guest-memory.js';
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '#shared/ipc/vring.js';
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter } from '#shared/translate/routine.js';
import { INDIRECT_DESC_BYTES } from '#shared/virtio/constants.js';
import * as S from '#shared/virtio/queue-state.js';
import * as B from './service-block.js';

/** A longer segment is unusual; so all of a chain is below 2^31 bytes. */
const MAX_SEGMENT_BYTES = 2 ** 23 - 1;
const U16 = 0xffff;
/** Of struct virtq_used. */
const USED_IDX = 2;
const USED_RING = 4;
const USED_ELEM_BYTES = 8;
const AVAIL_IDX = 2;
const AVAIL_RING = 4;

export const word = (e: RoutineEmitter, offset: number): Value => e.getState('i32', offset);

/** A word of the queue's block in the state page. */
export const queueWord = (e: RoutineEmitter, index: number): Value =>
  e.loadArena(word(e, B.QUEUE), 'i32', 4 * index);

const setQueueWord = (e: RoutineEmitter, index: number, value: Value): void =>
  e.storeArena(word(e, B.QUEUE), 'i32', 4 * index, value);

const next16 = (e: RoutineEmitter, index: Value): Value => e.and(e.add(index, e.i32(1)), e.i32(U16));

/** Acquire. */
export const availIdx = (e: RoutineEmitter): Value =>
  e.atomic('load16_u', 'i32', word(e, B.RING_AVAIL), AVAIL_IDX);

/** Arena address of the in-flight entry of a position. */
function entryOf(e: RoutineEmitter, position: Value): Value {
  const slot = e.and(position, e.sub(word(e, B.RING_SIZE), e.i32(1)));
  const words = e.add(e.mul(slot, e.i32(S.ENTRY_WORDS)), e.i32(S.QUEUE_HEADER_WORDS));
  return e.add(word(e, B.QUEUE), e.mul(words, e.i32(4)));
}

/** (gpa: i64, bytes: i32) → the arena offset of that range, 0 when it is not all in RAM. */
const locate: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [gpa, bytes]) => {
    const end = e.add(gpa!, e.extendU(bytes!));
    const low = e.extendU(word(e, B.LOW_RAM));
    const isLow = e.and(e.leU(gpa!, low), e.leU(end, low));
    e.if(isLow, () => e.return(e.add(word(e, B.RAM), e.wrap(gpa!))));
    const above = e.sub(gpa!, e.i64(HIGH_RAM_START));
    const high = e.extendU(word(e, B.HIGH_RAM));
    // Below the hole's end it wraps, to more than any RAM.
    const isHigh = e.and(e.leU(above, high), e.leU(e.add(above, e.extendU(bytes!)), high));
    const offset = e.add(e.add(word(e, B.RAM), word(e, B.LOW_RAM)), e.wrap(above));
    return e.select(isHigh, offset, e.i32(0));
  },
};

/** (offset: i32, bytes: i32) → tells the vCPUs where the device wrote into pages that hold code. */
const noteWrite: Routine = {
  parameters: ['i32', 'i32'],
  body: (e, [offset, bytes]) => {
    const page = (at: Value): Value => e.shrU(e.sub(at, word(e, B.RAM)), e.i32(12));
    const last = page(e.sub(e.add(offset!, bytes!), e.i32(1)));
    const at = e.variable(page(offset!));
    e.loop((again) => {
      const entry = e.add(word(e, B.CODE_MAP), e.mul(at.get(), e.i32(CODE_MAP_ENTRY_BYTES)));
      const owners = e.atomic('load', 'i32', entry, CODE_MAP_CODE_OWNERS);
      e.if(e.ne(owners, e.i32(0)), () => {
        e.call('ramWritten', [offset!, bytes!]);
        e.return(e.i32(0));
      });
      at.set(e.add(at.get(), e.i32(1)));
      e.branchIf(again, e.leU(at.get(), last));
    });
    return e.i32(0);
  },
};

interface Table {
  readonly at: Value;
  readonly entries: Value;
  readonly first: Value;
}

/** The chain's table: the ring's own, or the indirect one that its head names. Leaves with 0 where that is no good. */
function tableOf(e: RoutineEmitter, head: Value): Table {
  const at = e.variable(word(e, B.RING_DESC));
  const entries = e.variable(word(e, B.RING_SIZE));
  const first = e.variable(head);
  const desc = e.add(at.get(), e.mul(head, e.i32(INDIRECT_DESC_BYTES)));
  const flags = e.loadArena(desc, 'u16', 12);
  e.if(e.and(flags, e.i32(VIRTQ_DESC_F_INDIRECT)), () => {
    const bytes = e.loadArena(desc, 'i32', 8);
    const hasNext = e.and(flags, e.i32(VIRTQ_DESC_F_NEXT));
    const ragged = e.and(bytes, e.i32(INDIRECT_DESC_BYTES - 1));
    const bad = e.or(e.or(hasNext, ragged), e.or(e.eqz(bytes), e.eqz(word(e, B.INDIRECT))));
    e.if(bad, () => e.return(e.i32(0)));
    e.if(e.gtU(bytes, e.i32(MAX_SEGMENT_BYTES)), () => e.return(e.i32(0)));
    const table = e.call('locate', [e.loadArena(desc, 'i64', 0), bytes]);
    e.if(e.or(e.eqz(table), e.and(table, e.i32(3))), () => e.return(e.i32(0)));
    at.set(table);
    entries.set(e.shrU(bytes, e.i32(4)));
    first.set(e.i32(0));
  });
  return { at: at.get(), entries: entries.get(), first: first.get() };
}

/** (head: i32) → 1 with the chain's segments in the block, 0 when it is not an ordinary chain. Reads each field once. */
const walk: Routine = {
  parameters: ['i32'],
  body: (e, [head]) => {
    const table = tableOf(e, head!);
    const index = e.variable(table.first);
    const count = e.variable(e.i32(0));
    const readable = e.variable(e.i32(0));
    const bytesInAll = e.variable(e.i32(0));
    e.loop((again) => {
      e.if(e.geU(count.get(), e.i32(B.MAX_SEGMENTS)), () => e.return(e.i32(0)));
      const desc = e.add(table.at, e.mul(index.get(), e.i32(INDIRECT_DESC_BYTES)));
      const address = e.loadArena(desc, 'i64', 0);
      const bytes = e.loadArena(desc, 'i32', 8);
      const flagsAndNext = e.loadArena(desc, 'i32', 12);
      const isIndirect = e.and(flagsAndNext, e.i32(VIRTQ_DESC_F_INDIRECT));
      const badLength = e.or(e.eqz(bytes), e.gtU(bytes, e.i32(MAX_SEGMENT_BYTES)));
      e.if(e.or(isIndirect, badLength), () => e.return(e.i32(0)));
      const offset = e.call('locate', [address, bytes]);
      e.if(e.eqz(offset), () => e.return(e.i32(0)));
      e.if(e.eqz(e.and(flagsAndNext, e.i32(VIRTQ_DESC_F_WRITE))), () => {
        e.if(e.ne(readable.get(), count.get()), () => e.return(e.i32(0)));
        readable.set(e.add(readable.get(), e.i32(1)));
      });
      const place = e.mul(count.get(), e.i32(B.SEGMENT_BYTES));
      e.storeAt(place, 'i32', B.SEGMENTS, offset);
      e.storeAt(place, 'i32', B.SEGMENTS + 4, bytes);
      bytesInAll.set(e.add(bytesInAll.get(), bytes));
      count.set(e.add(count.get(), e.i32(1)));
      e.if(e.and(flagsAndNext, e.i32(VIRTQ_DESC_F_NEXT)), () => {
        index.set(e.shrU(flagsAndNext, e.i32(16)));
        e.if(e.geU(index.get(), table.entries), () => e.return(e.i32(0)));
        e.branch(again);
      });
    });
    e.setState('i32', B.HEAD, head!);
    e.setState('i32', B.SEGMENT_COUNT, count.get());
    e.setState('i32', B.READABLE_COUNT, readable.get());
    e.setState('i32', B.DATA_BYTES, bytesInAll.get());
    return e.i32(1);
  },
};

export const PEEK_EMPTY = 0;
export const PEEK_REQUEST = 1;
export const PEEK_UNUSUAL = 2;

/** () → PEEK_*: looks at the next request without taking it; its chain is in the block then. */
const peek: Routine = {
  parameters: [],
  body: (e) => {
    const position = queueWord(e, S.QUEUE_NEXT_AVAIL);
    const size = word(e, B.RING_SIZE);
    const waiting = e.and(e.sub(availIdx(e), position), e.i32(U16));
    e.if(e.eqz(waiting), () => e.return(e.i32(PEEK_EMPTY)));
    const valid = e.loadArena(entryOf(e, position), 'i32', 4 * S.ENTRY_VALID);
    e.if(e.or(e.gtU(waiting, size), valid), () => e.return(e.i32(PEEK_UNUSUAL)));
    const slot = e.and(position, e.sub(size, e.i32(1)));
    const at = e.add(word(e, B.RING_AVAIL), e.mul(slot, e.i32(2)));
    const head = e.loadArena(at, 'u16', AVAIL_RING);
    e.if(e.geU(head, size), () => e.return(e.i32(PEEK_UNUSUAL)));
    e.setState('i32', B.POSITION, position);
    return e.select(e.call('walk', [head]), e.i32(PEEK_REQUEST), e.i32(PEEK_UNUSUAL));
  },
};

/** () → takes the request that was looked at: in-flight entry, then position, as DeviceQueue.take. */
const take: Routine = {
  parameters: [],
  body: (e) => {
    const position = word(e, B.POSITION);
    const entry = entryOf(e, position);
    e.storeArena(entry, 'i32', 4 * S.ENTRY_MARK, e.i32(0));
    const request = e.or(e.shl(position, e.i32(16)), word(e, B.HEAD));
    e.storeArena(entry, 'i32', 4 * S.ENTRY_REQUEST, request);
    e.storeArena(entry, 'i32', 4 * S.ENTRY_VALID, e.i32(1));
    setQueueWord(e, S.QUEUE_NEXT_AVAIL, next16(e, position));
    return e.i32(0);
  },
};

/** Says of all writable segments and of the used ring that they were written. */
function announce(e: RoutineEmitter, element: Value): void {
  const segment = e.variable(word(e, B.READABLE_COUNT));
  e.loop((again) => {
    const place = e.mul(segment.get(), e.i32(B.SEGMENT_BYTES));
    e.call('noteWrite', [e.loadAt(place, 'i32', B.SEGMENTS), e.loadAt(place, 'i32', B.SEGMENTS + 4)]);
    segment.set(e.add(segment.get(), e.i32(1)));
    e.branchIf(again, e.ltU(segment.get(), word(e, B.SEGMENT_COUNT)));
  });
  e.call('noteWrite', [word(e, B.RING_USED), e.i32(4)]);
  e.call('noteWrite', [element, e.i32(USED_ELEM_BYTES)]);
}

/** (length: i32) → gives the request in hand back; the order of stores is DeviceQueue.complete's. The chain has a writable segment. */
const complete: Routine = {
  parameters: ['i32'],
  body: (e, [length]) => {
    const used = queueWord(e, S.QUEUE_NEXT_USED);
    const slot = e.and(used, e.sub(word(e, B.RING_SIZE), e.i32(1)));
    const ring = e.add(word(e, B.RING_USED), e.i32(USED_RING));
    const element = e.add(ring, e.mul(slot, e.i32(USED_ELEM_BYTES)));
    const position = word(e, B.POSITION);
    announce(e, element);
    e.storeArena(element, 'i32', 0, word(e, B.HEAD));
    e.storeArena(element, 'i32', 4, length!);
    setQueueWord(e, S.QUEUE_COMMIT, e.i32(0));
    setQueueWord(e, S.QUEUE_COMPLETING, e.add(position, e.i32(1)));
    e.storeAtomic('u16', word(e, B.RING_USED), USED_IDX, next16(e, used));
    e.storeArena(entryOf(e, position), 'i32', 4 * S.ENTRY_VALID, e.i32(0));
    setQueueWord(e, S.QUEUE_NEXT_USED, next16(e, used));
    setQueueWord(e, S.QUEUE_COMPLETING, e.i32(0));
    return e.i32(0);
  },
};

/** () → 1 when the driver wants an interrupt for what was completed since the last: DeviceQueue.takeSignal. */
const takeSignal: Routine = {
  parameters: [],
  body: (e) => {
    const used = queueWord(e, S.QUEUE_NEXT_USED);
    const last = word(e, B.SIGNALLED_USED);
    e.if(e.eq(used, last), () => e.return(e.i32(0)));
    e.setState('i32', B.SIGNALLED_USED, used);
    const avail = word(e, B.RING_AVAIL);
    e.if(word(e, B.EVENT_IDX), () => {
      const at = e.add(avail, e.mul(word(e, B.RING_SIZE), e.i32(2)));
      const event = e.atomic('load16_u', 'i32', at, AVAIL_RING);
      const passed = e.and(e.sub(e.sub(used, event), e.i32(1)), e.i32(U16));
      e.return(e.ltU(passed, e.and(e.sub(used, last), e.i32(U16))));
    });
    const flags = e.atomic('load16_u', 'i32', avail, 0);
    return e.eqz(e.and(flags, e.i32(VIRTQ_AVAIL_F_NO_INTERRUPT)));
  },
};

/** () → 1 when there is a request; else the driver has been asked to notify of the next one: DeviceQueue.arm. */
const arm: Routine = {
  parameters: [],
  body: (e) => {
    const position = queueWord(e, S.QUEUE_NEXT_AVAIL);
    e.if(word(e, B.EVENT_IDX), () => {
      const at = e.add(word(e, B.RING_USED), e.mul(word(e, B.RING_SIZE), e.i32(USED_ELEM_BYTES)));
      e.storeAtomic('u16', at, USED_RING, position);
    });
    return e.ne(availIdx(e), position);
  },
};

/** Each calls those before it alone, and the function `ramWritten(block, offset, bytes) → i32` of the device's. */
export const QUEUE_ROUTINES = { locate, noteWrite, walk, peek, take, complete, takeSignal, arm };
