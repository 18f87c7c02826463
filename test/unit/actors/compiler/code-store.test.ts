// The compiler's store over a cache file: what one boot compiled, the next one only loads, and what the file says wrong is
// compiled again.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CacheFile, type CachedRegion } from '#actors/compiler/cache-file.js';
import { CodeStore } from '#actors/compiler/code-store.js';
import { HANDLER_NEXT_BLOCK } from '#shared/translate/interpreter-module.js';
import { LINK_NEXT_DELTA, RECORD_HANDLER } from '#shared/translate/op-record.js';
import { encodeRegionRequest } from '#shared/translate/region-request.js';
import { ShapeIndex } from '#shared/translate/region.js';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';

const shapes = new ShapeIndex(SEMANTICS, []);
const VERSION = 'ef'.repeat(32);
let folder = '';
let heads = new Set<number>();
const path = (): string => join(folder, `${VERSION.slice(0, 32)}.bin`);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-store-'));
  heads = new Set();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function openFile() {
  const nothing = (): void => {};
  return CacheFile.open({
    folder,
    engineVersion: VERSION,
    limitBytes: 1 << 20,
    complain: nothing,
    beat: nothing,
  });
}

function openStore(): CodeStore {
  return new CodeStore({
    shapes: () => shapes,
    routines: ROUTINES,
    warm: () => {},
    beat: () => {},
    onHead: (head) => void heads.add(head),
    nameOf: (address) => `guest 0x${address.toString(16)}`,
    limitBytes: 1 << 20,
    cache: openFile(),
  });
}

/** A block of nothing that goes on `bytes` further. */
function ask(bytes: number) {
  const node = { delta: 0, page: 0, slots: 2, taken: -1, next: -1, bits: 0, secondPage: 0 };
  const request = encodeRegionRequest([node], 0, 0, (_node, into, at) => {
    const view = new DataView(into.buffer);
    view.setUint32(at + RECORD_HANDLER, HANDLER_NEXT_BLOCK, true);
    view.setInt32(at + LINK_NEXT_DELTA, bytes, true);
  });
  return {
    key: createHash('sha256').update(request.bytes).digest('hex'),
    request,
    exact: true,
    address: 0x1000n + BigInt(bytes),
  };
}

const asked = [ask(4), ask(8), ask(12)];

it('loads what an earlier store compiled', () => {
  const first = openStore();
  const compiled = first.find(asked);
  expect(compiled.map(({ region }) => region.index)).toEqual([0, 1, 2]);
  expect([first.compiled, first.loaded]).toEqual([3, 0]);
  const second = openStore();
  const loaded = second.find([...asked, ask(16)]);
  expect([second.compiled, second.loaded]).toEqual([1, 3]);
  expect(loaded.slice(0, 3).map(({ region }) => region.module.bytes)).toEqual(
    compiled.map(({ region }) => region.module.bytes),
  );
  const third = openStore();
  third.find([...asked, ask(16)]);
  expect([third.compiled, third.loaded]).toEqual([0, 4]);
});

it('names modules by what is in them, so that the next compiler names nothing else so', () => {
  const id = (of: ReturnType<typeof ask>): string => openStore().find([of])[0]!.region.module.id;
  expect(id(ask(20))).not.toBe(id(ask(24)));
  expect(id(ask(20))).toBe(id(ask(20)));
});

it('calls a region by the address that it was first asked for at, whoever asks later', () => {
  const store = openStore();
  const of = ask(28);
  const [first] = store.find([of]);
  expect(Buffer.from(first!.region.module.bytes).includes(`guest 0x${of.address.toString(16)}`)).toBe(true);
  const [again] = store.find([{ ...of, address: 0x7fff_0000n }]);
  expect(again!.region.module).toBe(first!.region.module);
});

it('answers with what it had, though room for the rest takes that out of the store', () => {
  const parts = {
    shapes: () => shapes,
    routines: ROUTINES,
    warm: () => {},
    beat: () => {},
    onHead: () => {},
    nameOf: () => 'guest',
  };
  const store = new CodeStore({ ...parts, limitBytes: 1 });
  const [kept] = store.find([ask(32)]);
  const both = store.find([ask(32), ask(36)]);
  expect(both.map(({ region }) => region.index)).toEqual([0, 0]);
  expect(both[0]!.region.module).toBe(kept!.region.module);
});

it('compiles again what is damaged, and keeps that', () => {
  openStore().find(asked);
  const bytes = readFileSync(path());
  bytes[bytes.length - 1]! ^= 1; // in the body, which opening the file does not read
  writeFileSync(path(), bytes);
  const second = openStore();
  second.find(asked);
  expect([second.compiled, second.loaded]).toEqual([3, 0]);
  const third = openStore();
  third.find(asked);
  expect([third.compiled, third.loaded]).toEqual([0, 3]);
});

const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

it.each([
  ['is no WebAssembly', Uint8Array.of(1, 2, 3)],
  ['lacks the region', EMPTY_MODULE],
])('compiles again what %s in spite of its sums', (_what, module) => {
  const regions = asked.map(({ key }, index): CachedRegion => ({ key, index, links: 0, head: 0 }));
  const requests = asked.map(({ request }) => request.bytes);
  openFile().file.append(module, regions, requests);
  const store = openStore();
  expect(store.find(asked)[0]!.region.module.bytes.length).toBeGreaterThan(EMPTY_MODULE.length);
  expect([store.compiled, store.loaded]).toEqual([3, 0]);
});

describe('a region with the same head', () => {
  // Of two slots the second, which tells how far it goes, does not count: their heads are one.
  const similar = { ...ask(40), exact: false };

  it('is offered by a store that has it, from this boot or an earlier one', () => {
    const store = openStore();
    store.find([asked[0]!]);
    for (const found of [store.offer([...heads][0]!), openStore().offer([...heads][0]!)]) {
      expect(found!.offered!.bytes).toEqual(asked[0]!.request.bytes);
      expect(found!.region.index).toBe(0);
    }
    expect(store.offer(12345)).toBeUndefined();
  });

  it('stands in for one that would have to be compiled, unless that very one is wanted', () => {
    const store = openStore();
    store.find([asked[0]!]);
    const [found] = store.find([similar]);
    expect(found!.offered!.bytes).toEqual(asked[0]!.request.bytes);
    const [exact] = store.find([{ ...similar, exact: true }]);
    expect([exact!.offered, store.compiled]).toEqual([undefined, 2]);
  });

  it('is not offered when its code is damaged in the file', () => {
    openStore().find([asked[0]!]);
    const bytes = readFileSync(path());
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path(), bytes);
    expect(openStore().offer([...heads][0]!)).toBeUndefined();
  });
});
