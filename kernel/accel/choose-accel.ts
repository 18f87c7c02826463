// From what was asked for (auto, kvm, wasm) and what the host can do to what runs the guest, and what to tell the user.

import type { Accel } from '#actors/vcpu/protocol.js';
import { TroupeError } from '#shared/base/error.js';
import type { TraceSeed } from '#shared/ipc/trace.js';
import { hostKvmReport, type KvmReport } from './kvm-report.js';

export interface AccelChoice {
  readonly accel: 'kvm' | 'wasm';
  /** One line for a person: which, and why. */
  readonly explanation: string;
  /** KVM is at hand but for something that the user can mend, or runs with a defect. */
  readonly notable: boolean;
}

export interface AccelNeeds {
  readonly accel: Accel;
  readonly trace: TraceSeed | undefined;
}

/** Fixed by the user with a command, not by another machine. */
const MENDABLE: readonly KvmReport['state'][] = ['no-permission', 'no-addon'];

/** Throws TroupeError `kvm-unavailable` when KVM was demanded and cannot be had, `bad-config` when it cannot do what else was. */
export function chooseAccel(needs: AccelNeeds, report: () => KvmReport = hostKvmReport): AccelChoice {
  if (needs.accel === 'wasm') return { accel: 'wasm', explanation: 'wasm engine, as asked', notable: false };
  const traced = needs.trace?.channels.find((channel) => channel === 'exec' || channel === 'irq');
  if (needs.accel === 'kvm') return demandKvm(report(), traced);
  if (traced !== undefined) {
    const explanation = `wasm engine: KVM shows no instruction or interrupt to --trace ${traced}`;
    return { accel: 'wasm', explanation, notable: false };
  }
  const found = report();
  if (found.state === 'usable') return { accel: 'kvm', explanation: `KVM: ${found.reason}`, notable: false };
  const fix = MENDABLE.includes(found.state) && found.hint !== undefined ? ` (${found.hint})` : '';
  return {
    accel: 'wasm',
    explanation: `wasm engine: ${found.reason}${fix}`,
    notable: found.state === 'no-permission',
  };
}

function demandKvm(found: KvmReport, traced: string | undefined): AccelChoice {
  if (traced !== undefined) {
    throw new TroupeError(
      'bad-config',
      `KVM shows no instruction or interrupt to --trace ${traced}`,
      'use --accel wasm to trace these',
    );
  }
  if (found.state === 'usable') return { accel: 'kvm', explanation: 'KVM, as asked', notable: false };
  if (found.state === 'emulating') {
    const explanation = `KVM, as asked, but ${found.reason}: a stock Linux will not boot`;
    return { accel: 'kvm', explanation, notable: true };
  }
  throw new TroupeError('kvm-unavailable', `KVM cannot be used: ${found.reason}`, found.hint);
}
