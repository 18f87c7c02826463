import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as vring from '#shared/ipc/vring.js';

const u16 = fc.integer({ min: 0, max: 0xffff });

describe('needsEvent', () => {
  it('says whether the event lies in the half-open range (old, new] of a wrapping index', () => {
    fc.assert(
      fc.property(u16, u16, fc.integer({ min: 0, max: 0x7fff }), (event, old, step) => {
        let expected = false;
        // The index passes `event` when it moves from event to event + 1.
        const distance = (event - old) & 0xffff;
        if (distance < step) expected = true;
        expect(vring.needsEvent(event, (old + step) & 0xffff, old)).toBe(expected);
      }),
    );
  });
});

describe('ring layout', () => {
  it('lies where virtio-v1.2 §2.7 puts it, little endian', () => {
    const buffer = new SharedArrayBuffer(512);
    const v = { u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) };
    const view = new DataView(buffer);
    const ring = { desc: 16, avail: 150, used: 200, size: 4 };
    vring.writeDesc(v, ring, 2, 0x89abcdef, 0x12, 77, vring.VIRTQ_DESC_F_NEXT, 3);
    expect(view.getBigUint64(48, true)).toBe(0x12_89abcdefn);
    expect(view.getUint32(56, true)).toBe(77);
    expect(view.getUint16(60, true)).toBe(1);
    expect(view.getUint16(62, true)).toBe(3);
    expect(vring.readDescAddr(v, ring, 2)).toBe(0x12_89abcdef);
    expect(vring.readDescNext(v, ring, 2)).toBe(3);
    vring.writeAvailEntry(v, ring, 5, 2);
    vring.publishAvailIdx(v, ring, 6);
    expect(view.getUint16(150 + 4 + 2 * 1, true)).toBe(2);
    expect(view.getUint16(152, true)).toBe(6);
    vring.storeUsedEvent(v, ring, 9);
    expect(view.getUint16(150 + 4 + 2 * 4, true)).toBe(9);
    vring.writeUsedElem(v, ring, 7, 2, 99);
    vring.publishUsedIdx(v, ring, 8);
    expect(view.getUint32(200 + 4 + 8 * 3, true)).toBe(2);
    expect(view.getUint32(200 + 8 + 8 * 3, true)).toBe(99);
    expect(view.getUint16(202, true)).toBe(8);
    vring.storeAvailEvent(v, ring, 11);
    expect(view.getUint16(200 + 4 + 8 * 4, true)).toBe(11);
  });
});
