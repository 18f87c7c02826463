// Requests for regions: what is encoded is read back, and no bytes whatever are taken for a request that they are not.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RECORD_BYTES } from '#shared/translate/op-record.js';
import {
  MAX_REGION_NODES,
  decodeRegionRequest,
  encodeRegionRequest,
} from '#shared/translate/region-request.js';

const nodes = fc.array(
  fc.record({
    delta: fc.integer({ min: -(2 ** 20), max: 2 ** 20 }),
    page: fc.nat(6),
    slots: fc.integer({ min: 1, max: 6 }),
    taken: fc.integer({ min: -1, max: 0 }),
    next: fc.integer({ min: -1, max: 0 }),
    bits: fc.nat(3),
    secondPage: fc.nat(6),
  }),
  { minLength: 1, maxLength: MAX_REGION_NODES },
);

test('what is encoded is read back', () => {
  fc.assert(
    fc.property(nodes, fc.nat(6), fc.nat(4095), (list, extraPages, pageOffset) => {
      const request = encodeRegionRequest(list, extraPages, pageOffset, (node, bytes, at) =>
        bytes.fill(node + 1, at, at + list[node]!.slots * RECORD_BYTES),
      );
      const read = decodeRegionRequest(request.bytes);
      expect(read?.nodes).toEqual(request.nodes);
      expect([read?.extraPages, read?.pageOffset]).toEqual([extraPages, pageOffset]);
    }),
  );
});

test('torn and damaged requests are refused or lie within themselves', () => {
  fc.assert(
    fc.property(nodes, fc.nat(), fc.nat(255), fc.nat(), (list, place, value, cut) => {
      const { bytes } = encodeRegionRequest(list, 0, 0, () => {});
      bytes[place % bytes.length] = value;
      const torn = bytes.slice(0, cut % (bytes.length + 1));
      for (const candidate of [bytes, torn]) {
        const read = decodeRegionRequest(candidate);
        for (const node of read?.nodes ?? []) {
          expect(node.records + node.slots * RECORD_BYTES).toBeLessThanOrEqual(candidate.length);
          for (const successor of [node.taken, node.next])
            expect(successor >= -1 && successor < read!.nodes.length).toBe(true);
        }
      }
    }),
  );
});
