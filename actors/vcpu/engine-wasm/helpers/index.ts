// The helpers that generated code calls, by the name that semantics use.

import type { Helper } from '../cpu-context.js';
import { repeatString, repMovs, repStos } from './bulk-string.js';
import {
  clearTaskSwitched,
  loadMachineStatusWord,
  readControlRegister,
  readDebugRegister,
  writeControlRegister,
  writeDebugRegister,
} from './control-register.js';
import { debugTrap, softwareException, softwareInterrupt } from './exceptions.js';
import { farCall, farJump, farReturn } from './far-transfer.js';
import { hypercall } from './hypercall.js';
import { interruptReturn } from './interrupt-return.js';
import { portIn, portOut, stringIn, stringOut } from './port.js';
import {
  cpuid,
  halt,
  invalidatePage,
  lockedCmpxchg16b,
  probeWrite,
  readMsr,
  readTimeStampCounter,
  readTimeStampCounterAndProcessor,
  systemFlagsChanged,
  unparkInterrupt,
  writeMsr,
} from './processor.js';
import {
  loadAccessRights,
  loadLocalDescriptorTable,
  loadSegment,
  loadSegmentLimit,
  loadSegmentOfFarPointer,
  loadTaskRegister,
  verifyRead,
  verifyWrite,
} from './segmentation.js';
import { SSE_HELPERS } from './sse.js';
import { syscall, sysenter, sysexit, sysret } from './system-call.js';
import { X87_HELPERS } from './x87.js';

export const HELPERS: Readonly<Record<string, Helper>> = {
  ...SSE_HELPERS,
  ...X87_HELPERS,
  clearTaskSwitched,
  cpuid,
  debugTrap,
  farCall,
  farJump,
  farReturn,
  halt,
  hypercall,
  interruptReturn,
  invalidatePage,
  loadAccessRights,
  loadLocalDescriptorTable,
  loadMachineStatusWord,
  loadSegment,
  loadSegmentLimit,
  loadSegmentOfFarPointer,
  loadTaskRegister,
  lockedCmpxchg16b,
  portIn,
  portOut,
  probeWrite,
  readControlRegister,
  readDebugRegister,
  readMsr,
  readTimeStampCounter,
  readTimeStampCounterAndProcessor,
  repeatString,
  repMovs,
  repStos,
  softwareException,
  softwareInterrupt,
  stringIn,
  stringOut,
  syscall,
  sysenter,
  sysexit,
  sysret,
  systemFlagsChanged,
  unparkInterrupt,
  verifyRead,
  verifyWrite,
  writeControlRegister,
  writeDebugRegister,
  writeMsr,
};
