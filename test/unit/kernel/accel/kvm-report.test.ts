// Hosts that lack something, made up: each lack has its own state, a reason in words and the fix; and what is chosen from it.
import { describe, expect, test } from 'vitest';
import { chooseAccel } from '#kernel/accel/choose-accel.js';
import { examineKvm, type KvmHost, type KvmReport } from '#kernel/accel/kvm-report.js';
import * as K from '#native/kvm-constants.js';
import { TroupeError } from '#shared/base/error.js';

interface FakeHost {
  readonly addonMissing?: string;
  readonly openError?: string;
  readonly version?: number;
  readonly lacks?: number;
  readonly runBytes?: number;
  readonly runsPrivileged?: boolean;
  readonly probeError?: string;
}

function kvmError(code: string): Error {
  return Object.assign(new Error(`open: ${code}`), { code, errno: 1, ioctl: 'open', hint: `mend ${code}` });
}

let closed = 0;

function fakeHost(fake: FakeHost): KvmHost {
  return {
    addonMissing: () => fake.addonMissing,
    open: () => {
      if (fake.openError !== undefined) throw kvmError(fake.openError);
      return {
        apiVersion: fake.version ?? 12,
        runBytes: fake.runBytes ?? 12288,
        capability: (number) => (number === fake.lacks ? 0 : 1),
        close: () => closed++,
      };
    },
    runsPrivileged: () => {
      if (fake.probeError !== undefined) throw kvmError(fake.probeError);
      return fake.runsPrivileged ?? true;
    },
  };
}

const LACKS: readonly (readonly [what: string, fake: FakeHost, state: KvmReport['state'], reason: RegExp])[] =
  [
    ['nothing', {}, 'usable', /works/],
    ['a compiler at install', { addonMissing: 'the native addon was not built' }, 'no-addon', /not built/],
    ['the device', { openError: 'ENOENT' }, 'no-device', /no \/dev\/kvm/],
    ['a processor behind the device', { openError: 'ENODEV' }, 'no-device', /no processor/],
    ['the permission', { openError: 'EACCES' }, 'no-permission', /permission/],
    ['file descriptors', { openError: 'EMFILE' }, 'broken', /EMFILE/],
    ['a new enough interface', { version: 11 }, 'old-kernel', /version 11/],
    ['a capability', { lacks: K.KVM_CAP_SPLIT_IRQCHIP }, 'lacks-capability', /KVM_CAP_SPLIT_IRQCHIP/],
    ['immediate_exit', { lacks: K.KVM_CAP_IMMEDIATE_EXIT }, 'lacks-capability', /KVM_CAP_IMMEDIATE_EXIT/],
    ['a known layout of kvm_run', { runBytes: 65536 }, 'broken', /65536/],
    ['hardware', { runsPrivileged: false }, 'emulating', /emulates kernel code/],
    ['a machine for the probe', { probeError: 'EBUSY' }, 'broken', /EBUSY/],
  ];

describe.for(LACKS)('a host that lacks %s', ([, fake, state, reason]) => {
  const report = examineKvm(fakeHost(fake));

  test('is told with its reason', () => {
    expect(report.state).toBe(state);
    expect(report.reason).toMatch(reason);
  });

  test('runs on what works', () => {
    const choice = chooseAccel({ accel: 'auto', trace: undefined }, () => report);
    expect(choice.accel).toBe(state === 'usable' ? 'kvm' : 'wasm');
    expect(choice.explanation).toContain(report.reason);
    expect(choice.explanation).not.toContain('\n');
  });

  test('refuses with the fix where KVM is demanded, or does as it is told', () => {
    const demand = () => chooseAccel({ accel: 'kvm', trace: undefined }, () => report);
    if (state === 'usable' || state === 'emulating') {
      expect(demand().accel).toBe('kvm');
      expect(demand().notable).toBe(state === 'emulating');
      return;
    }
    expect(demand).toThrow(TroupeError);
    expect(demand).toThrow(expect.objectContaining({ code: 'kvm-unavailable', hint: report.hint }));
  });

  test('is left alone where the wasm engine was asked for', () => {
    const never = (): KvmReport => {
      throw new Error('the host was asked');
    };
    expect(chooseAccel({ accel: 'wasm', trace: undefined }, never).accel).toBe('wasm');
  });
});

test('the device is closed again, whatever was found', () => {
  closed = 0;
  for (const [, fake] of LACKS) examineKvm(fakeHost(fake));
  expect(closed).toBe(
    LACKS.filter(([, fake]) => fake.openError === undefined && fake.addonMissing === undefined).length,
  );
});

test('a trace that KVM cannot give takes the wasm engine, or is refused with KVM', () => {
  const usable = examineKvm(fakeHost({}));
  const trace = { channels: ['exec'] as const, fd: 1, limitBytes: 1 };
  expect(chooseAccel({ accel: 'auto', trace }, () => usable).accel).toBe('wasm');
  expect(() => chooseAccel({ accel: 'kvm', trace }, () => usable)).toThrow(/--trace exec/);
});
