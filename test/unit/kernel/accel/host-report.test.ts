// What `troupe doctor` finds on hosts made up for it: everything there, and nothing.
import { expect, test } from 'vitest';
import { examineHost, type HostView } from '#kernel/accel/host-report.js';

const BARE: HostView = {
  kvm: () => ({ state: 'no-device', reason: 'there is no /dev/kvm', hint: 'load kvm_intel' }),
  platform: 'linux-x64',
  nodeVersion: '20.0.0',
  read: () => undefined,
  exists: () => false,
  canUse: () => false,
  hasProgram: () => false,
};

test('each lack has its fix', () => {
  const [host, ...lacks] = examineHost(BARE);
  expect(host!.state).toBe('ok');
  expect(lacks.map(({ state }) => state)).toEqual(lacks.map(() => 'missing'));
  for (const lack of lacks) expect(lack.fix, lack.name).toBeTruthy();
  expect(lacks[0]).toMatchObject({ name: 'kvm', fix: 'load kvm_intel' });
});

test('a host that has everything needs no fix', () => {
  const findings = examineHost({
    ...BARE,
    kvm: () => ({ state: 'usable', reason: '/dev/kvm works' }),
    read: (path) => (path.endsWith('run') ? '1\n' : 'always [madvise] never\n'),
    canUse: () => true,
    hasProgram: () => true,
  });
  for (const finding of findings) expect(finding).toMatchObject({ state: 'ok' });
  expect(findings.some(({ fix }) => fix !== undefined)).toBe(false);
});

test('a device without permission is told from one that is not there; an emulating KVM is limited', () => {
  const findings = examineHost({
    ...BARE,
    exists: (path) => path === '/dev/net/tun',
    kvm: () => ({ state: 'emulating', reason: 'it emulates', hint: 'another host' }),
  });
  expect(findings.find(({ name }) => name === 'tap')!.detail).toContain('no permission');
  expect(findings.find(({ name }) => name === 'userfaultfd')!.detail).toContain('there is no');
  expect(findings.find(({ name }) => name === 'kvm')!.state).toBe('limited');
});
