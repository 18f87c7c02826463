// The heartbeat: how the kernel tells a hang from sleep. Word 0 counts turns of the actor's loop; word 1 says what the
// actor does. An idle actor beats only when it is woken: it hangs when its doorbell rang and the count stands still. Words 2 and 3
// count the virtio requests that it has completed, and say how many waited then.
import type { Region } from '#shared/base/region.js';

export const HEARTBEAT_BYTES = 64;
const COUNT = 0;
const PHASE = 1;
const WORK = 2;
const DEPTH = 3;
/** For generated code: byte offsets in a heartbeat. */
export const HEARTBEAT_PHASE = PHASE * 4;
export const HEARTBEAT_WORK = WORK * 4;
export const HEARTBEAT_DEPTH = DEPTH * 4;

/** Its thread starts and loads its modules. */
export const PHASE_STARTING = 0;
export const PHASE_RUNNING = 1;
/** Waits for its doorbell (a vCPU: for its PENDING word). */
export const PHASE_IDLE = 2;
export const PHASE_PAUSED = 3;
export const PHASE_HALTED = 4;
/** Makes itself out of its seed; follows PHASE_STARTING. */
export const PHASE_CREATING = 5;

export function heartbeatIndex(heartbeat: Region): number {
  return heartbeat.offset >>> 2;
}

/** One turn more. The actor is the only writer. */
export function stampHeartbeat(i32: Int32Array, index: number): void {
  Atomics.store(i32, index + COUNT, (i32[index + COUNT]! + 1) | 0);
}

export function loadHeartbeat(i32: Int32Array, index: number): number {
  return Atomics.load(i32, index + COUNT);
}

/** One request done; `depth` more wait. The actor is the only writer. */
export function noteWork(i32: Int32Array, index: number, depth: number): void {
  i32[index + WORK] = (i32[index + WORK]! + 1) | 0;
  i32[index + DEPTH] = depth;
}

export function loadWork(i32: Int32Array, index: number): number {
  return i32[index + WORK]!;
}

export function loadDepth(i32: Int32Array, index: number): number {
  return i32[index + DEPTH]!;
}

export function setPhase(i32: Int32Array, index: number, phase: number): void {
  Atomics.store(i32, index + PHASE, phase);
}

export function loadPhase(i32: Int32Array, index: number): number {
  return Atomics.load(i32, index + PHASE);
}
