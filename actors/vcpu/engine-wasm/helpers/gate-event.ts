// What gates of all modes need of the event that goes through them.

import * as F from '#shared/x86/rflags.js';
import type { CpuContext } from '../cpu-context.js';
import { readRflags } from './state-access.js';

export interface GateEvent {
  readonly vector: number;
  /** −1: none. */
  readonly errorCode: number;
  /** INT n, INT3, INTO: the gate's DPL is checked, and error codes have no EXT bit. */
  readonly software: boolean;
  /** Where the handler returns to. */
  readonly lo: number;
  readonly hi: number;
  readonly setRf: boolean;
}

/** Flags that an event clears besides IF, which interrupt gates clear. */
export const EVENT_CLEARS = F.TF | F.NT | F.RF | F.VM;

/** EXT bit of error codes of faults on the way. */
export const extOf = (event: GateEvent): number => (event.software ? 0 : 1);

/** Error code that names an IDT entry. */
export const idtErrorCode = (event: GateEvent): number => (event.vector << 3) | 2 | extOf(event);

export function pushedFlags(cpu: CpuContext, event: GateEvent): number {
  return (readRflags(cpu) & ~F.RF) | (event.setRf ? F.RF : 0);
}
