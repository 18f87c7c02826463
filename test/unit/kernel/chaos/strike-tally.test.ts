// Which cells of the kill matrix a run takes, against a workload of which only a part of the cells is in reach.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cellName, cellRule, killMatrix, laneOf, type MatrixCell } from '#kernel/chaos/kill-matrix.js';
import { StrikeTally, planStrikes } from '#kernel/chaos/strike-tally.js';
import type { ActorEvent } from '#kernel/supervision/actor-event.js';
import { createPrng } from '#shared/base/prng.js';
import { formatFault } from '#shared/ipc/fault-text.js';

const LEAST = 100;
const cells = killMatrix();
const lane = (cell: MatrixCell): string => `${cell.kind} ${laneOf(cell)}`;

const placeName = (cell: MatrixCell): string => `${cell.kind} at ${cell.point}`;

function strike(cell: MatrixCell, count: number): ActorEvent {
  const rule = formatFault(cellRule(cell, { atMs: 500 }));
  return { type: 'fault', atMs: 1, actor: cell.kind, kind: cell.kind, action: cell.action, rule, count };
}

describe('StrikeTally', () => {
  it('has every cell in reach struck often enough, and every lane that a run takes strikes', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 9 }), (seed, share) => {
        const prng = createPrng(seed);
        const places = new Set(cells.map(placeName).filter(() => prng.below(10) < share));
        const inReach = new Set(cells.filter((cell) => places.has(placeName(cell))));
        const seen = new Set<string>();
        const tally = new StrikeTally(cells);
        for (let run = 0; run < 1000 && tally.open(LEAST).length > 0; run++) {
          const drawn = tally.draw(LEAST, prng.below);
          expect(new Set(drawn).size).toBe(drawn.length);
          const struck = drawn.filter((cell) => inReach.has(cell));
          const lanes = new Set(struck.map(lane));
          for (const name of new Set(drawn.map(lane))) if (seen.has(name)) expect(lanes).toContain(name);
          for (const name of lanes) seen.add(name);
          tally.add(
            drawn,
            struck.map((cell) => strike(cell, 30)),
          );
        }
        const wanting = tally.wanting(LEAST).map(cellName);
        expect(wanting).toEqual(cells.filter((cell) => !inReach.has(cell)).map(cellName));
      }),
      { numRuns: 20 },
    );
  });
});

describe('planStrikes', () => {
  // A device that dies whenever it is about to obey one write leaves the vCPU that writes in that for ever.
  it('gives a device time to come back, however few cells take turns', () => {
    const deadly = cells.filter((cell) => laneOf(cell) !== 'mild');
    fc.assert(
      fc.property(fc.subarray(deadly, { minLength: 1, maxLength: 20 }), (drawn) => {
        const rules = planStrikes(drawn, 60);
        expect(rules).toHaveLength(drawn.length);
        for (const rule of rules) expect(rule.everyMs).toBeGreaterThanOrEqual(1500);
      }),
    );
  });
});
