// Walks while others write the tables. What walks find in tables that stand still is compared with generated code in
// shared/x86/routines/page-walk.test.ts and with the host in the differential tests.
import { beforeEach, describe, expect, test } from 'vitest';
import { ACCESS_WRITE, PageWalk } from '#actors/vcpu/engine-wasm/page-walk.js';
import { CR0, CR3, CR4, EFER } from '#shared/x86/cpu-state.js';

const RAM = 0x10_000;
const PRESENT_WRITABLE = 3;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const TABLES = [0x1000, 0x2000, 0x3000, 0x4000] as const;
const PAGE = 0x5000;
const OTHER_PAGE = 0x6000;

let i32: Int32Array;
/** Runs before the table at this address is read. */
let meanwhile: Map<number, () => void>;
let walk: PageWalk;

const entry = (table: number): number => (RAM + table) >>> 2;

beforeEach(() => {
  i32 = new Int32Array(new SharedArrayBuffer(0x20_000));
  meanwhile = new Map();
  i32[CR0 / 4] = 0x8001_0001 | 0;
  i32[CR4 / 4] = 1 << 5;
  i32[EFER / 4] = 0x500;
  i32[CR3 / 4] = TABLES[0];
  TABLES.forEach((table, i) => (i32[entry(table)] = (TABLES[i + 1] ?? PAGE) | PRESENT_WRITABLE));
  walk = new PageWalk(i32, 0, (gpa) => {
    const act = meanwhile.get(gpa);
    meanwhile.delete(gpa);
    act?.();
    return RAM + gpa;
  });
});

describe('a walk', () => {
  test('marks what it went through', () => {
    expect(walk.translate(0x123, 0, ACCESS_WRITE)).toBe(PAGE + 0x123);
    for (const table of TABLES.slice(0, 3)) expect(i32[entry(table)]! & (ACCESSED | DIRTY)).toBe(ACCESSED);
    expect(i32[entry(TABLES[3])]).toBe(PAGE | PRESENT_WRITABLE | ACCESSED | DIRTY);
  });

  test.each([0, 1, 2])('leaves an entry of level %i alone that another vCPU clears meanwhile', (level) => {
    meanwhile.set(TABLES[level + 1]!, () => (i32[entry(TABLES[level]!)] = 0));
    expect(walk.translate(0x123, 0, 0)).toBe(-1);
    expect(walk.errorCode).toBe(0);
    expect(i32[entry(TABLES[level]!)]).toBe(0);
  });

  test('follows an entry that another vCPU changes meanwhile', () => {
    const second = 0x7000;
    i32[entry(second)] = OTHER_PAGE | PRESENT_WRITABLE;
    meanwhile.set(TABLES[3], () => (i32[entry(TABLES[2])] = second | PRESENT_WRITABLE));
    expect(walk.translate(0x123, 0, 0)).toBe(OTHER_PAGE + 0x123);
    expect(i32[entry(TABLES[2])]).toBe(second | PRESENT_WRITABLE | ACCESSED);
  });
});
