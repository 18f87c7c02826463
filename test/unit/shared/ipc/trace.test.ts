import { describe, expect, it } from 'vitest';
import { createTracer } from '#shared/ipc/trace.js';

describe('createTracer', () => {
  it('shares one budget among all actors and never writes past it', () => {
    const i32 = new Int32Array(new SharedArrayBuffer(64));
    const lines: string[] = [];
    const seed = { channels: ['mmio' as const], fd: 9, limitBytes: 500 };
    const make = (actor: string) =>
      createTracer(seed, actor, i32, { offset: 0, bytes: 64 }, (line) => lines.push(line))!;
    const one = make('one');
    const two = make('two');
    expect([one.mmio, one.irq, one.exec, one.virtio]).toEqual([true, false, false, false]);
    for (let i = 0; i < 100; i++) (i % 2 === 0 ? one : two).event('mmio', `event ${i}`);
    const bytes = lines.join('').length;
    expect(bytes).toBeLessThanOrEqual(500);
    expect(bytes).toBeGreaterThan(400);
    expect(lines[1]).toMatch(/^\d+\.\d{3} two mmio event 1\n$/);
  });

  it('is not there without a seed', () => {
    const i32 = new Int32Array(new SharedArrayBuffer(64));
    expect(createTracer(undefined, 'a', i32, { offset: 0, bytes: 64 }, () => {})).toBeUndefined();
  });
});
