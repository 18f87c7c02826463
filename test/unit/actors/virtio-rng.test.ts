// The entropy device: every buffer is filled as far as it promises, also when the device dies in between.
import { describe, expect, it } from 'vitest';
import { createVirtioRng } from '#actors/virtio-rng/actor.js';
import { PENDING, PENDING_CODE_WRITE } from '#shared/x86/cpu-state.js';
import { CodeMap } from '#shared/memory/code-map.js';
import { rngFunctionPlan } from '#shared/virtio/rng.js';
import { ACTOR, InProcessDevice, killNow } from '../../support/in-process-device.js';
import { DEFAULT_FEATURES } from '../../support/mock-driver.js';

function makeRng(): InProcessDevice {
  const rng = new InProcessDevice({ create: createVirtioRng, plan: rngFunctionPlan(ACTOR) });
  rng.driver.start(DEFAULT_FEATURES);
  return rng;
}

describe('virtio-rng', () => {
  it('fills buffers of any shape, never alike', () => {
    const rng = makeRng();
    const queue = rng.driver.queues[0]!;
    const seen = new Set<string>();
    for (const buffers of [[64], [1, 63], [100, 100, 100]]) {
      queue.post(buffers);
      rng.driver.notify(0);
      rng.settle();
      const used = queue.take()!;
      expect(used.length).toBe(buffers.reduce((a, b) => a + b));
      seen.add(used.data.slice(0, 64).join());
    }
    expect(seen.size).toBe(3);
  });

  it('gives every buffer back once, killed again and again', () => {
    const rng = makeRng();
    const queue = rng.driver.queues[0]!;
    const killer = killNow(rng, 7, 6);
    for (let round = 0; round < 100; round++) {
      const head = queue.post([32]);
      if (queue.needsNotify()) rng.driver.notify(0);
      rng.settle();
      expect(queue.take()).toMatchObject({ head, length: 32 });
      expect(queue.take()).toBeUndefined();
      killer.next();
    }
    expect(rng.generation).toBeGreaterThan(30);
  });

  it('tells vCPUs when it writes where they have decoded code', () => {
    const rng = makeRng();
    const { layout, views } = rng;
    const states = layout.vcpus.map((vcpu) => vcpu.state);
    const map = new CodeMap(views.i32, layout.shared.codeMap, layout.ram.ramOffset, states);
    const queue = rng.driver.queues[0]!;
    const pending = (layout.vcpus[0]!.state.offset + PENDING) >>> 2;
    const offset = layout.ram.ramOffset + rng.driver.alloc(0);
    map.claim(offset, 4, 0);
    queue.post([32]);
    rng.driver.notify(0);
    rng.settle();
    expect(views.i32[pending]! & PENDING_CODE_WRITE).not.toBe(0);
    expect(map.isStale(offset, 0)).toBe(true);
  });

  it('comes back with an interrupt for its queue, and none for a configuration that did not change', () => {
    const rng = makeRng();
    rng.restart();
    rng.settle();
    expect([rng.takeInterrupt(0), rng.takeInterrupt(1)]).toEqual([false, true]);
  });

  it('says that it needs a reset, wherever it dies meanwhile', () => {
    for (let hit = 1; hit < 20; hit++) {
      const rng = makeRng();
      rng.killAtHit = rng.hits + hit;
      rng.driver.queues[0]!.post([Uint8Array.of(1)]);
      rng.driver.notify(0);
      rng.settle();
      expect(rng.driver.needsReset).toBe(true);
      expect(rng.takeInterrupt(0), `killed at hit ${hit}`).toBe(true);
    }
  });

  it('asks for a reset when a buffer is not for writing', () => {
    const rng = makeRng();
    rng.driver.queues[0]!.post([Uint8Array.of(1)]);
    rng.driver.notify(0);
    rng.settle();
    expect(rng.driver.needsReset).toBe(true);
  });
});
