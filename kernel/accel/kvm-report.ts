// Whether this host's KVM can run a machine, and if not, why and what to do about it. Asks the host through an interface, so
// that tests can be a host without the device, the permission, a capability or the addon.

import { isKvmError, loadAddon } from '#native/addon.js';
import * as K from '#native/kvm-constants.js';
import { KVM_DEVICE, KvmSystem } from '#native/kvm-system.js';
import { probePrivilegedExecution } from './kvm-probe.js';

export type KvmState =
  /** Guests run on the processor. */
  | 'usable'
  /** It works, but kernel code is emulated: slowly, and not all of it. A stock Linux does not boot. */
  | 'emulating'
  | 'no-addon'
  | 'no-device'
  | 'no-permission'
  | 'old-kernel'
  | 'lacks-capability'
  | 'broken';

export interface KvmReport {
  readonly state: KvmState;
  /** One clause: what is so. */
  readonly reason: string;
  /** The fix, where there is one. */
  readonly hint?: string;
}

/** What KvmSystem tells. */
export type KvmHostSystem = Pick<KvmSystem, 'apiVersion' | 'runBytes' | 'capability' | 'close'>;

export interface KvmHost {
  /** Why there is no addon, or undefined. */
  addonMissing(): string | undefined;
  /** Throws KvmError. */
  open(): KvmHostSystem;
  /** Whether privileged code runs on the processor; throws KvmError. */
  runsPrivileged(): boolean;
}

export const REAL_HOST: KvmHost = {
  addonMissing: () => {
    const result = loadAddon();
    return 'missing' in result ? result.missing : undefined;
  },
  open: () => KvmSystem.open(),
  runsPrivileged: probePrivilegedExecution,
};

/** Capabilities that the KVM engine cannot do without. */
const NEEDED: readonly (readonly [capability: number, name: string])[] = [
  [K.KVM_CAP_USER_MEMORY, 'KVM_CAP_USER_MEMORY'],
  [K.KVM_CAP_IRQ_ROUTING, 'KVM_CAP_IRQ_ROUTING'],
  [K.KVM_CAP_SIGNAL_MSI, 'KVM_CAP_SIGNAL_MSI'],
  [K.KVM_CAP_SPLIT_IRQCHIP, 'KVM_CAP_SPLIT_IRQCHIP'],
  [K.KVM_CAP_IMMEDIATE_EXIT, 'KVM_CAP_IMMEDIATE_EXIT'],
  [K.KVM_CAP_MP_STATE, 'KVM_CAP_MP_STATE'],
  [K.KVM_CAP_VCPU_EVENTS, 'KVM_CAP_VCPU_EVENTS'],
  [K.KVM_CAP_DEBUGREGS, 'KVM_CAP_DEBUGREGS'],
  [K.KVM_CAP_XSAVE, 'KVM_CAP_XSAVE'],
  [K.KVM_CAP_ADJUST_CLOCK, 'KVM_CAP_ADJUST_CLOCK'],
  [K.KVM_CAP_GET_TSC_KHZ, 'KVM_CAP_GET_TSC_KHZ'],
  [K.KVM_CAP_TSC_DEADLINE_TIMER, 'KVM_CAP_TSC_DEADLINE_TIMER'],
];
const MAX_RUN_BYTES = 3 * 4096;

export function examineKvm(host: KvmHost = REAL_HOST): KvmReport {
  const missing = host.addonMissing();
  if (missing !== undefined) {
    const hint = 'apt-get install g++ make python3, then npm rebuild (or npm run build in a checkout)';
    return { state: 'no-addon', reason: missing, hint };
  }
  let system: KvmHostSystem;
  try {
    system = host.open();
  } catch (error) {
    return explainOpen(error);
  }
  try {
    return examineSystem(host, system);
  } catch (error) {
    return broken(error);
  } finally {
    system.close();
  }
}

function explainOpen(error: unknown): KvmReport {
  if (!isKvmError(error)) return broken(error);
  const { code, hint } = error;
  if (code === 'ENOENT') return { state: 'no-device', reason: `there is no ${KVM_DEVICE}`, hint };
  if (code === 'EACCES' || code === 'EPERM')
    return { state: 'no-permission', reason: `no permission for ${KVM_DEVICE}`, hint };
  if (code === 'ENODEV' || code === 'ENXIO')
    return { state: 'no-device', reason: `${KVM_DEVICE} has no processor behind it`, hint };
  return broken(error);
}

function broken(error: unknown): KvmReport {
  const reason = error instanceof Error ? error.message : String(error);
  return isKvmError(error) ? { state: 'broken', reason, hint: error.hint } : { state: 'broken', reason };
}

function examineSystem(host: KvmHost, system: KvmHostSystem): KvmReport {
  const version = system.apiVersion;
  if (version !== K.KVM_API_VERSION) {
    const reason = `KVM's interface is of version ${version}, not ${K.KVM_API_VERSION}`;
    return { state: 'old-kernel', reason, hint: 'use a Linux kernel of 4.11 or newer' };
  }
  const lacking = NEEDED.find(([capability]) => system.capability(capability) <= 0);
  if (lacking !== undefined) {
    const hint = 'use a newer Linux kernel (5.10 or later has all that is needed)';
    return { state: 'lacks-capability', reason: `this KVM has no ${lacking[1]}`, hint };
  }
  if (system.runBytes > MAX_RUN_BYTES)
    return { state: 'broken', reason: `kvm_run of ${system.runBytes} bytes is larger than expected` };
  if (!host.runsPrivileged()) {
    const reason = `${KVM_DEVICE} emulates kernel code instead of running it`;
    return {
      state: 'emulating',
      reason,
      hint: 'use a host with hardware virtualization, or nested virtualization switched on',
    };
  }
  return { state: 'usable', reason: `${KVM_DEVICE} works` };
}

let known: KvmReport | undefined;

/** Of this host; looked at once a process. */
export function hostKvmReport(): KvmReport {
  known ??= examineKvm();
  return known;
}
