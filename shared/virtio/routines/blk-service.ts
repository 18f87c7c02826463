// The disk's request path in generated code: reads and writes from the doorbell to the interrupt, with the host's file alone left to
// TypeScript. Why: a device's next generation starts in a new isolate, where all JavaScript is cold for a second or two; WebAssembly is
// compiled once a process. What is unusual ends it and is served the usual way (actors/virtio-blk/device.ts): other requests,
// errors, register accesses, control calls. virtio-v1.2 §5.2.6.
import { BELL_QUEUE, DOORBELL_SLEEPING } from '#shared/ipc/doorbell.js';
import {
  HEARTBEAT_DEPTH,
  HEARTBEAT_PHASE,
  HEARTBEAT_WORK,
  PHASE_IDLE,
  PHASE_RUNNING,
} from '#shared/ipc/heartbeat.js';
import { PCI_COMMAND_MASTER } from '#shared/pci/registers.js';
import type { Value } from '#shared/translate/emitter.js';
import {
  routineBody,
  routineParameters,
  type Routine,
  type RoutineEmitter,
} from '#shared/translate/routine.js';
import {
  SECTOR_BYTES,
  VIRTIO_BLK_REQ_HEADER_BYTES,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '#shared/virtio/blk.js';
import * as S from '#shared/virtio/queue-state.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import type { WasmType } from '#shared/wasm/opcodes.js';
import { MSI_ROUTINES } from './msi-routines.js';
import { PEEK_EMPTY, PEEK_UNUSUAL, QUEUE_ROUTINES, availIdx, queueWord, word } from './queue-routines.js';
import * as B from './service-block.js';

/** Of the disk, whose queue it is. */
const QUEUE_BIT = 1;
/** About ten microseconds of looking at the doorbell before sleep. */
const SPIN_TURNS = 5000;
const TIMED_OUT = 2;
const MAXIMUM_PAGES = 65536;
const SECTOR_SHIFT = 9;

const beat = (e: RoutineEmitter): void => {
  const heart = word(e, B.HEARTBEAT);
  e.storeAtomic('i32', heart, 0, e.add(e.loadArena(heart, 'i32'), e.i32(1)));
};

const setPhase = (e: RoutineEmitter, phase: number): void =>
  e.storeAtomic('i32', word(e, B.HEARTBEAT), HEARTBEAT_PHASE, e.i32(phase));

const bell = (e: RoutineEmitter): Value => e.atomic('load', 'i32', word(e, B.DOORBELL), 0);

/** i32: the doorbell rang for more than the queue. */
const isCalledAway = (e: RoutineEmitter): Value => e.and(bell(e), e.i32(~BELL_QUEUE));

/** () → 1 when the request that was looked at is a read or a write within the disk; its particulars are in the block then. */
const readHeader: Routine = {
  parameters: [],
  body: (e) => {
    const count = word(e, B.SEGMENT_COUNT);
    const readable = word(e, B.READABLE_COUNT);
    const last = e.mul(e.sub(count, e.i32(1)), e.i32(B.SEGMENT_BYTES));
    const statusBytes = e.loadAt(last, 'i32', B.SEGMENTS + 4);
    const headerBytes = word(e, B.SEGMENTS + 4);
    const badEnds = e.or(e.ne(headerBytes, e.i32(VIRTIO_BLK_REQ_HEADER_BYTES)), e.ne(statusBytes, e.i32(1)));
    e.if(e.or(badEnds, e.ltU(count, e.i32(3))), () => e.return(e.i32(0)));
    const header = word(e, B.SEGMENTS);
    const type = e.loadArena(header, 'i32', 0);
    const sector = e.loadArena(header, 'i64', 8);
    const isRead = e.and(e.eq(type, e.i32(VIRTIO_BLK_T_IN)), e.eq(readable, e.i32(1)));
    const wellFormedWrite = e.eq(readable, e.sub(count, e.i32(1)));
    const isWrite = e.and(e.eq(type, e.i32(VIRTIO_BLK_T_OUT)), wellFormedWrite);
    const mayWrite = e.and(isWrite, e.eqz(word(e, B.READ_ONLY)));
    e.if(e.eqz(e.or(isRead, mayWrite)), () => e.return(e.i32(0)));
    const data = e.sub(word(e, B.DATA_BYTES), e.i32(VIRTIO_BLK_REQ_HEADER_BYTES + 1));
    e.if(e.and(data, e.i32(SECTOR_BYTES - 1)), () => e.return(e.i32(0)));
    const capacity = e.getState('i64', B.CAPACITY);
    e.if(e.gtU(sector, capacity), () => e.return(e.i32(0)));
    const sectors = e.extendU(e.shrU(data, e.i32(SECTOR_SHIFT)));
    e.if(e.gtU(e.add(sector, sectors), capacity), () => e.return(e.i32(0)));
    e.setState('i32', B.DATA_BYTES, data);
    e.setState('i32', B.REQUEST_TYPE, type);
    e.setState('i64', B.REQUEST_SECTOR, sector);
    return e.i32(1);
  },
};

/** () → carries out the request that was looked at, completes it and interrupts. */
const execute: Routine = {
  parameters: [],
  body: (e) => {
    e.call('take', []);
    const status = e.call('transfer', []);
    const last = e.mul(e.sub(word(e, B.SEGMENT_COUNT), e.i32(1)), e.i32(B.SEGMENT_BYTES));
    e.storeArena(e.loadAt(last, 'i32', B.SEGMENTS), 'u8', 0, status);
    const isRead = e.eq(word(e, B.REQUEST_TYPE), e.i32(VIRTIO_BLK_T_IN));
    const gives = e.and(isRead, e.eq(status, e.i32(VIRTIO_BLK_S_OK)));
    e.call('complete', [e.add(e.select(gives, word(e, B.DATA_BYTES), e.i32(0)), e.i32(1))]);
    beat(e);
    const heart = word(e, B.HEARTBEAT);
    e.storeArena(heart, 'i32', HEARTBEAT_WORK, e.add(e.loadArena(heart, 'i32', HEARTBEAT_WORK), e.i32(1)));
    const depth = e.and(e.sub(availIdx(e), queueWord(e, S.QUEUE_NEXT_USED)), e.i32(0xffff));
    e.storeArena(heart, 'i32', HEARTBEAT_DEPTH, depth);
    e.if(e.call('takeSignal', []), () => void e.call('interruptQueue', []));
    return e.i32(0);
  },
};

/** () → 1 when the queue is empty and armed; 0 when TypeScript has to look at it. */
const serveQueue: Routine = {
  parameters: [],
  body: (e) => {
    e.loop((again) => {
      e.if(isCalledAway(e), () => e.return(e.i32(0)));
      const found = e.call('peek', []);
      e.if(e.eq(found, e.i32(PEEK_UNUSUAL)), () => e.return(e.i32(0)));
      e.if(e.eq(found, e.i32(PEEK_EMPTY)), () => {
        e.branchIf(again, e.call('arm', []));
        e.return(e.i32(1));
      });
      e.if(e.eqz(e.call('readHeader', [])), () => e.return(e.i32(0)));
      e.call('execute', []);
      e.branch(again);
    });
    return e.i32(0);
  },
};

/** Takes the notification; what is not served goes back for TypeScript, and the routine ends. */
function serveNotified(e: RoutineEmitter): void {
  const command = e.loadArena(word(e, B.PCI_COMMAND_PLACE), 'u16');
  const isMaster = e.and(command, e.i32(PCI_COMMAND_MASTER));
  const isServed = e.ifValue(
    isMaster,
    'i32',
    () => e.call('serveQueue', []),
    () => e.i32(0),
  );
  e.if(e.eqz(isServed), () => {
    e.atomic('rmw.or', 'i32', word(e, B.PENDING_QUEUES), 0, [e.i32(QUEUE_BIT)]);
    e.atomic('rmw.or', 'i32', word(e, B.DOORBELL), 0, [e.i32(BELL_QUEUE)]);
    e.return(e.i32(0));
  });
}

/**
 * (timeoutNs: i64) → serves the queue whenever its driver notifies, asleep between, until that long nothing came or TypeScript is
 * needed; the doorbell then says what for. All other queues of the actor are armed when it is called.
 */
const service: Routine = {
  parameters: ['i64'],
  body: (e, [timeoutNs]) => {
    e.loop((again) => {
      beat(e);
      e.if(isCalledAway(e), () => e.return(e.i32(0)));
      e.if(bell(e), () => {
        setPhase(e, PHASE_RUNNING);
        e.atomic('rmw.and', 'i32', word(e, B.DOORBELL), 0, [e.i32(~BELL_QUEUE)]);
        const pending = e.atomic('rmw.xchg', 'i32', word(e, B.PENDING_QUEUES), 0, [e.i32(0)]);
        e.if(pending, () => serveNotified(e));
      });
      const turns = e.variable(e.i32(SPIN_TURNS));
      e.loop((spin) => {
        e.branchIf(again, bell(e));
        turns.set(e.sub(turns.get(), e.i32(1)));
        e.branchIf(spin, turns.get());
      });
      setPhase(e, PHASE_IDLE);
      const doorbell = word(e, B.DOORBELL);
      e.storeAtomic('i32', doorbell, DOORBELL_SLEEPING, e.i32(1));
      const woken = e.waitArena(doorbell, e.i32(0), timeoutNs!);
      e.storeAtomic('i32', doorbell, DOORBELL_SLEEPING, e.i32(0));
      e.branchIf(again, e.ne(woken, e.i32(TIMED_OUT)));
    });
    return e.i32(0);
  },
};

/** What the module imports of its device, in `device`: each is called with the block's arena offset first. */
const IMPORTS: Readonly<Record<string, readonly WasmType[]>> = {
  /** (offset, bytes): the device wrote into pages that hold code. */
  ramWritten: ['i32', 'i32', 'i32'],
  /** Moves the data of the request in hand; gives its VIRTIO_BLK_S_*. */
  transfer: ['i32'],
  /** The queue's interrupt, where the routines leave it to TypeScript. */
  interrupt: ['i32'],
};

const BLK_ROUTINES = { ...QUEUE_ROUTINES, ...MSI_ROUTINES, readHeader, execute, serveQueue, service };

/** The module: exports `service(block, timeoutNs: i64)`, and for tests every routine. */
export function buildBlkService(): Uint8Array<ArrayBuffer> {
  const writer = new ModuleWriter({ initial: 1, maximum: MAXIMUM_PAGES });
  const functions = new Map<string, number>();
  for (const [name, parameters] of Object.entries(IMPORTS))
    functions.set(name, writer.importFunction('device', name, writer.type(parameters, ['i32'])));
  const find = (name: string): number => functions.get(name)!;
  for (const [name, routine] of Object.entries<Routine>(BLK_ROUTINES)) {
    const type = writer.type(routineParameters(routine), ['i32']);
    functions.set(name, writer.function(type, name, routineBody(routine, find), true));
  }
  return writer.finish();
}
