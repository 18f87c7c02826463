// A region as it goes to the compiler: the control-flow graph of some decoded blocks and copies of their operation
// records, in one piece of bytes that says nothing of addresses or of the vCPU. Blocks that count their instructions say so by
// a record of theirs. Equal bytes mean equal code, so that they are the key under which a region is shared between vCPUs and
// kept for the next boot.
//
//   i32 ×8   version, nodes, bytes, extra pages, offset of the region's start in its page, 0, 0, 0
//   i32 ×8   for each node: its distance from the region's start, page, first record's place, slots, successors (taken, next), NODE_* bits, second page
//   records  32 bytes each, link slots with their record pointers cleared, targets of indirect branches as nodes (`targetNodes`)

import { INDIRECT_TARGET_COUNT, RECORD_BYTES } from './op-record.js';

/** Changes whenever the same request would be compiled to other code. */
export const REGION_VERSION = 5;
const HEADER_BYTES = 32;
const NODE_BYTES = 32;
/** A region's data in the arena, in words: one unused, the arena addresses of its extra pages, then its links. */
export const REGION_DATA_PAGES = 1;
export const MAX_REGION_NODES = 64;
export const MAX_REGION_SLOTS = 400;
export const MAX_REGION_BYTES =
  HEADER_BYTES + MAX_REGION_NODES * NODE_BYTES + MAX_REGION_SLOTS * RECORD_BYTES;

/** The code at an edge's target overwrites the arithmetic flags before it reads them. */
export const NODE_TAKEN_FLAGS_DEAD = 1;
export const NODE_NEXT_FLAGS_DEAD = 2;

/** One block. A block that is inlined into two callers is two nodes. */
export interface RegionNode {
  /** Distance of the block's first instruction from the region's. */
  readonly delta: number;
  /** 0: the page of the region's start; else 1 + an index into the region's extra pages. */
  readonly page: number;
  /** Byte offset of its first record in the request. */
  readonly records: number;
  /** 32-byte slots of records and links. */
  readonly slots: number;
  /** Nodes that the block may go on with, −1 for ways out of the region. Of RET: `taken` is what follows its inlined call. */
  readonly taken: number;
  readonly next: number;
  /** NODE_* bits. */
  readonly bits: number;
  /** Of an instruction that crosses into another page: 1 + that page; else 0. */
  readonly secondPage: number;
}

export interface RegionRequest {
  readonly nodes: readonly RegionNode[];
  readonly extraPages: number;
  /** Offset of the region's start in its page. */
  readonly pageOffset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** The nodes that an indirect branch may go on with, by the slot behind its record: 1 + a node each, 0 for none. */
export function targetNodes(view: DataView, slot: number): number[] {
  return Array.from(
    { length: INDIRECT_TARGET_COUNT },
    (_, i) => view.getInt32(slot + i * 4, true) - 1,
  ).filter((node) => node >= 0);
}

/** Writes what {@link targetNodes} reads. */
export function writeTargetNodes(view: DataView, slot: number, nodes: readonly number[]): void {
  for (let i = 0; i < INDIRECT_TARGET_COUNT; i++) view.setInt32(slot + i * 4, (nodes[i] ?? -1) + 1, true);
}

/** Lays a request out; `copyRecords` puts a node's records at a place in `bytes`. */
export function encodeRegionRequest(
  nodes: readonly Omit<RegionNode, 'records'>[],
  extraPages: number,
  pageOffset: number,
  copyRecords: (node: number, bytes: Uint8Array, at: number) => void,
): RegionRequest {
  const slots = nodes.reduce((sum, node) => sum + node.slots, 0);
  const start = HEADER_BYTES + nodes.length * NODE_BYTES;
  const bytes = new Uint8Array(start + slots * RECORD_BYTES);
  const view = new DataView(bytes.buffer);
  [REGION_VERSION, nodes.length, bytes.length, extraPages, pageOffset].forEach((word, i) =>
    view.setInt32(i * 4, word, true),
  );
  let records = start;
  const placed = nodes.map((node, i) => {
    const at = HEADER_BYTES + i * NODE_BYTES;
    [node.delta, node.page, records, node.slots, node.taken, node.next, node.bits, node.secondPage].forEach(
      (word, j) => view.setInt32(at + j * 4, word, true),
    );
    copyRecords(i, bytes, records);
    const result: RegionNode = { ...node, records };
    records += node.slots * RECORD_BYTES;
    return result;
  });
  return { nodes: placed, extraPages, pageOffset, bytes, view };
}

/**
 * Names, with few others by chance, what a region may start with: a block's records (those behind the heat counter, at `record`) but the
 * last slot, in which a branch keeps what it has seen, and the block's place in its page. A u32.
 */
export function headHash(view: DataView, record: number, slots: number, pageOffset: number): number {
  let hash = pageOffset;
  const words = Math.max(1, slots - 1) * (RECORD_BYTES / 4);
  for (let i = 0; i < words; i++)
    hash = Math.imul(hash ^ view.getInt32(record + i * 4, true), 0x01000193) ^ (hash >>> 15);
  return hash >>> 0;
}

/** {@link headHash} of the region that a request asks for. */
export function headHashOf({ nodes, view, pageOffset }: RegionRequest): number {
  const head = nodes[0]!;
  return headHash(view, head.records, head.slots, pageOffset);
}

/** Reads a request back; undefined when the bytes are none (torn, foreign, of another version). */
export function decodeRegionRequest(bytes: Uint8Array): RegionRequest | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (at: number): number => view.getInt32(at, true);
  const count = word(4);
  const start = HEADER_BYTES + count * NODE_BYTES;
  if (word(0) !== REGION_VERSION || count < 1 || count > MAX_REGION_NODES) return undefined;
  if (word(8) !== bytes.length || start > bytes.length) return undefined;
  const nodes: RegionNode[] = [];
  for (let i = 0; i < count; i++) {
    const at = HEADER_BYTES + i * NODE_BYTES;
    const node: RegionNode = {
      delta: word(at),
      page: word(at + 4),
      records: word(at + 8),
      slots: word(at + 12),
      taken: word(at + 16),
      next: word(at + 20),
      bits: word(at + 24),
      secondPage: word(at + 28),
    };
    const inside = (n: number): boolean => n >= -1 && n < count;
    const fits = node.records >= start && node.slots > 0 && node.slots <= MAX_REGION_SLOTS;
    if (!inside(node.taken) || !inside(node.next) || !fits) return undefined;
    if (node.records + node.slots * RECORD_BYTES > bytes.length) return undefined;
    nodes.push(node);
  }
  return { nodes, extraPages: word(12), pageOffset: word(16), bytes, view };
}
