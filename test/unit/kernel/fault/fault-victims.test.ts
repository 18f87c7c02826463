import { expect, it } from 'vitest';
import { checkVictims } from '#kernel/fault/fault-victims.js';
import { FAILPOINTS } from '#shared/ipc/failpoint-catalogue.js';
import { parseFault } from '#shared/ipc/fault-text.js';

const actors = [
  { name: 'vcpu-0', kind: 'vcpu' },
  { name: 'virtio-blk-0', kind: 'virtio-blk' },
  { name: 'own', kind: 'of a test' },
];
const check = (text: string) => (): void => checkVictims(parseFault(text), actors);

it.each([
  'vcpu: crash',
  'virtio-blk-0: crash at used.written',
  '*: crash at used.written',
  'virtio-blk: drop 1%',
  'own: crash at tick',
])('lets %s be', (text) => {
  expect(check(text)).not.toThrow();
});

it.each([
  ['virtio-blk-1: crash', /there is no actor virtio-blk-1/],
  ['virtio-rng: crash', /there is no actor virtio-rng/],
  ['vcpu-0: crash at used.written', /vcpu-0 never passes used.written/],
  ['virtio-blk: drop at message.send', /virtio-blk never passes message.send/],
])('refuses %s', (text, message) => {
  expect(check(text)).toThrow(message);
});

it('knows all points of the catalogue', () => {
  for (const [point, { kinds }] of Object.entries(FAILPOINTS)) {
    const kind = kinds === 'all' ? 'vcpu' : kinds[0];
    expect(() => checkVictims({ actor: kind, action: 'crash', point }, [{ name: 'a', kind }])).not.toThrow();
  }
});
