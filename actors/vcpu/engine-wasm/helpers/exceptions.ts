// Delivery of exceptions, interrupts and software interrupts through the IVT and the IDT. Intel SDM vol. 3 ch. 6
// (6.12 protected mode, 6.14 IA-32e mode, table 6-5 double faults). Breakpoints and single steps are the run loop's: it calls deliverDebug().

import * as S from '#shared/x86/cpu-state.js';
import * as F from '#shared/x86/rflags.js';
import { type CpuContext, GuestFault, type Helper, raise } from '../cpu-context.js';
import { deliverLegacy } from './legacy-gate.js';
import { deliverLong } from './long-gate.js';
import { isLongMode, isRealMode, isVirtual8086 } from './state-access.js';
import { deliverReal } from './real-vector.js';

/**
 * fault: raised by the instruction at RIP. trap: raised after an instruction; RIP is the next one's. software: INT n, INT3, INTO
 * (gate privilege is checked, RIP is the instruction's and `HELPER_ARG1` the next one's). external, nmi: between instructions.
 */
export type EventKind = 'fault' | 'trap' | 'software' | 'external' | 'nmi';

export interface CpuEvent {
  readonly vector: number;
  readonly errorCode?: number;
  readonly kind: EventKind;
}

const DIVIDE_ERROR = 0;
const DEBUG = 1;
const DOUBLE_FAULT = 8;
const INVALID_TSS = 10;
const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;
const DR6 = S.DR + 6 * 8;
const DR7 = S.DR + 7 * 8;
const DR7_GD = 1 << 13;
export const DR6_BD = 1 << 13;
export const DR6_BS = 1 << 14;

type FaultClass = 'benign' | 'contributory' | 'page-fault';

function classOf(vector: number): FaultClass {
  if (vector === PAGE_FAULT) return 'page-fault';
  if (vector === DIVIDE_ERROR || (vector >= INVALID_TSS && vector <= GENERAL_PROTECTION))
    return 'contributory';
  return 'benign';
}

/** Whether `second`, raised while `first` was delivered, makes a double fault. Table 6-5. */
function makesDoubleFault(first: FaultClass, second: FaultClass): boolean {
  if (first === 'contributory') return second === 'contributory';
  return first === 'page-fault' && second !== 'benign';
}

/** The image that is pushed: RF is set for faults, so that an instruction breakpoint does not hit again. */
function deliverOnce(cpu: CpuContext, vector: number, errorCode: number, kind: EventKind): void {
  const ipSlot = kind === 'software' ? S.HELPER_ARG1 : S.RIP;
  const lo = cpu.i32[ipSlot >> 2]!;
  const hi = cpu.i32[(ipSlot >> 2) + 1]!;
  const software = kind === 'software';
  const flagged = kind === 'fault' && vector !== DEBUG;
  if (isRealMode(cpu)) deliverReal(cpu, vector, lo);
  else if (isLongMode(cpu)) deliverLong(cpu, { vector, errorCode, software, lo, hi, setRf: flagged });
  else deliverLegacy(cpu, { vector, errorCode, software, lo, hi, setRf: flagged });
  cpu.i32[S.INTERRUPT_SHADOW >> 2] = S.SHADOW_NONE;
  cpu.stepTrap = 'never'; // the event has cleared TF
  if (vector === DEBUG && !software) cpu.i32[DR7 >> 2] = cpu.i32[DR7 >> 2]! & ~DR7_GD;
  cpu.modeChanged();
}

/**
 * Delivers an event, and whatever faults that raises. RIP, CS, SS:RSP and RFLAGS are then the handler's. Gives
 * EXIT_BRANCH, or EXIT_SHUTDOWN after a triple fault.
 */
export function deliverEvent(cpu: CpuContext, event: CpuEvent): number {
  let vector = event.vector;
  let errorCode = event.errorCode ?? -1;
  let kind = event.kind;
  let isException = kind === 'fault' || kind === 'trap';
  // At most: event, fault, double fault.
  for (;;) {
    try {
      deliverOnce(cpu, vector, errorCode, kind);
      return S.EXIT_BRANCH;
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      if (isException && vector === DOUBLE_FAULT) return S.EXIT_SHUTDOWN;
      const first = isException ? classOf(vector) : 'benign';
      if (makesDoubleFault(first, classOf(fault.vector))) {
        vector = DOUBLE_FAULT;
        errorCode = 0;
      } else {
        vector = fault.vector;
        errorCode = fault.errorCode;
      }
      kind = 'fault';
      isException = true;
    }
  }
}

/** A debug exception of the run loop's: sets DR6 bits, then delivers. */
export function deliverDebug(cpu: CpuContext, dr6Bits: number, kind: 'fault' | 'trap'): number {
  cpu.i32[DR6 >> 2] = (cpu.i32[DR6 >> 2]! & ~15) | dr6Bits;
  return deliverEvent(cpu, { vector: DEBUG, kind });
}

/** INT3, INTO. A fault on the way is the instruction's. */
export const softwareException: Helper = (cpu, vector) => {
  deliverOnce(cpu, vector, -1, 'software');
  return S.EXIT_BRANCH;
};

/** INT n: in virtual-8086 mode it needs IOPL 3. */
export const softwareInterrupt: Helper = (cpu, vector) => {
  const { i32 } = cpu;
  if (isVirtual8086(cpu) && (i32[S.RFLAGS_SYSTEM >> 2]! & F.IOPL) !== F.IOPL) raise(GENERAL_PROTECTION, 0);
  deliverOnce(cpu, vector, -1, 'software');
  return S.EXIT_BRANCH;
};

/** INT1: a trap that no gate privilege stops. */
export const debugTrap: Helper = (cpu) => {
  const lo = cpu.i32[S.HELPER_ARG1 >> 2]!;
  const hi = cpu.i32[(S.HELPER_ARG1 >> 2) + 1]!;
  cpu.i32[S.RIP >> 2] = lo;
  cpu.i32[(S.RIP >> 2) + 1] = hi;
  return deliverDebug(cpu, cpu.takeBreakpointHits(), 'trap');
};

/** MOV to or from a debug register under DR7.GD. */
export function raiseDebugAccess(cpu: CpuContext): never {
  cpu.i32[DR6 >> 2] = cpu.i32[DR6 >> 2]! | DR6_BD;
  raise(DEBUG);
}
