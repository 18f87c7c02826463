// The software TLB against a model that remembers what was entered and what each flush drops.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TLB_ENTRIES, TLB_BYTES } from '#shared/translate/op-record.js';
import { SET_SUPERVISOR, SET_USER, Tlb } from '#actors/vcpu/engine-wasm/tlb.js';

const PAGE = 4096;

interface Page {
  readonly set: number;
  readonly low: number;
  readonly global: boolean;
}

const page = fc.record({
  set: fc.constantFrom(SET_USER, SET_SUPERVISOR),
  low: fc.integer({ min: 0, max: 3 * TLB_ENTRIES }).map((n) => n * PAGE),
  global: fc.boolean(),
});
const step = fc.oneof(
  { weight: 20, arbitrary: page },
  { weight: 1, arbitrary: fc.constant('local' as const) },
  { weight: 1, arbitrary: fc.constant('all' as const) },
);

const slotOf = ({ set, low }: Page): string => `${set}:${(low / PAGE) % TLB_ENTRIES}`;

test('finds what was filled last and nothing that a flush must drop', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.array(page, { maxLength: 20 }), (steps, probes) => {
      const buffer = new SharedArrayBuffer(TLB_BYTES);
      const tlb = new Tlb(new Uint8Array(buffer), new Int32Array(buffer), {
        offset: 0,
        bytes: buffer.byteLength,
      });
      const model = new Map<string, Page>();
      for (const s of steps) {
        if (s === 'all') {
          tlb.flush();
          model.clear();
        } else if (s === 'local') {
          tlb.flushLocal();
          for (const [slot, p] of model) if (!p.global || p.set === SET_USER) model.delete(slot);
        } else {
          tlb.fill(s.set, s.low, 0, 0x1000_0000 + s.low, true, s.global, 12);
          model.set(slotOf(s), s);
        }
      }
      for (const p of [...probes, ...model.values()]) {
        const known = model.get(slotOf(p))?.low === p.low;
        const found = tlb.find(p.set, p.low + 5, 0, true);
        // A global page over an entry that was local may go with a flush of the local ones; it never stays too long.
        if (!known) expect(found).toBe(-1);
        else if (found !== -1 || !p.global) expect(found).toBe(0x1000_0005 + p.low);
      }
    }),
  );
});
