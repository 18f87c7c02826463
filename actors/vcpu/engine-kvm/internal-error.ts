// What to say when KVM cannot go on: the reason, RIP, and the bytes there, which tell an instruction that this host's
// KVM does not emulate from a broken guest.

import type { Addon } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import type { ActorContext } from '#shared/ipc/actor.js';

const INTERNAL_ERROR_EMULATION = 1;
/** KVM_INTERNAL_ERROR_* beside it. */
const OTHER_INTERNAL_ERRORS: Readonly<Record<number, string>> = {
  2: 'an exception while it handled an exception',
  3: 'an exit while it delivered an event',
  4: 'an exit of the processor that it does not know',
};
const REGS_RIP = 128;
const SREGS_CS_BASE = 0;
const SREGS_CR0 = 224;
const CR0_PG = 0x8000_0000;
/** struct kvm_run, of an emulation failure with KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES: size, then bytes. */
const ERROR_FLAGS = K.RUN_EXIT + 8;
const ERROR_INSTRUCTION = K.RUN_EXIT + 16;
const FLAG_INSTRUCTION_BYTES = 1;

export function describeInternalError(
  addon: Addon,
  vcpuFd: number,
  { views, ram }: ActorContext,
  run: number,
  reason: number,
): string {
  const state = (name: 'regs' | 'sregs'): DataView => {
    const buffer = new Uint8Array(addon.stateBytes(name));
    addon.getState(vcpuFd, name, buffer);
    return new DataView(buffer.buffer);
  };
  const view = new DataView(views.buffer, run, 4096);
  const rip = state('regs').getBigUint64(REGS_RIP, true);
  const where = `RIP 0x${rip.toString(16)}`;
  if (reason === K.KVM_EXIT_FAIL_ENTRY) {
    const detail = view.getBigUint64(K.RUN_EXIT, true).toString(16);
    return `KVM cannot enter the guest: hardware reason 0x${detail}, ${where}`;
  }
  if (reason !== K.KVM_EXIT_INTERNAL_ERROR) return `KVM exited for an unknown reason ${reason}, ${where}`;
  const suberror = view.getUint32(K.RUN_EXIT, true);
  if (suberror !== INTERNAL_ERROR_EMULATION) {
    const meaning = OTHER_INTERNAL_ERRORS[suberror] ?? 'see the host kernel’s log';
    return `KVM internal error ${suberror} (${meaning}), ${where}`;
  }
  const bytes = instructionBytes(view) ?? bytesAt(state('sregs'), rip, ram);
  return `this KVM cannot emulate the instruction at ${where}: ${bytes ?? 'bytes unknown'}`;
}

function instructionBytes(view: DataView): string | undefined {
  const words = view.getUint32(K.RUN_EXIT + 4, true);
  if (words < 2 || (view.getUint32(ERROR_FLAGS, true) & FLAG_INSTRUCTION_BYTES) === 0) return undefined;
  const length = Math.min(view.getUint8(ERROR_INSTRUCTION), 15);
  return hex(new Uint8Array(view.buffer, view.byteOffset + ERROR_INSTRUCTION + 1, length));
}

/** Without paging, RIP leads to the bytes by itself. */
function bytesAt(sregs: DataView, rip: bigint, ram: ActorContext['ram']): string | undefined {
  if ((sregs.getUint32(SREGS_CR0, true) & CR0_PG) !== 0) return undefined;
  const bytes = ram.slice(Number(sregs.getBigUint64(SREGS_CS_BASE, true) + rip), 8);
  return bytes === undefined ? undefined : hex(bytes);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
