// VMCALL and VMMCALL as KVM answers them: number in RAX, result in RAX. Linux Documentation/virt/kvm/x86/hypercalls.rst.
// Of all calls only KVM_HC_VAPIC_POLL_IRQ works, which does nothing: the others' features are not announced.

import * as S from '#shared/x86/cpu-state.js';
import type { Helper } from '../cpu-context.js';
import { cplOf, is64BitCode, setWords } from './state-access.js';

const KVM_HC_VAPIC_POLL_IRQ = 1;
const KVM_EPERM = 1;
const KVM_ENOSYS = 1000;

export const hypercall: Helper = (cpu) => {
  const long = is64BitCode(cpu);
  const high = long ? cpu.i32[(S.RAX >> 2) + 1]! : 0;
  let result = -KVM_ENOSYS;
  if (cplOf(cpu) !== 0) result = -KVM_EPERM;
  else if (high === 0 && cpu.i32[S.RAX >> 2] === KVM_HC_VAPIC_POLL_IRQ) result = 0;
  setWords(cpu, S.RAX, result, long ? result >> 31 : 0);
  return S.EXIT_NONE;
};
