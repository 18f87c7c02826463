// Split virtqueue: descriptor table, available ring, used ring and event index; virtio-v1.2 §2.7. Driver side and device side,
// for guest virtqueues in guest RAM and for mailboxes between actors alike: a ring is three byte offsets into the
// arena and a size, and what a descriptor's `addr` means is the caller's affair (guest-physical address or arena offset).
// Free functions of primitives that allocate nothing. Callers check alignment once (§2.7: 16, 2, 4 bytes); memory
// is little endian, as every host that V8 runs on. Leaves out: packed virtqueues, indirect tables (the caller's too).

/** Views over the arena that the verbs take. */
export interface RingViews {
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
}

/** Where a ring lies: byte offsets in the arena. */
export interface Ring {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** Entries, a power of two up to 32768. */
  readonly size: number;
}

export const VIRTQ_DESC_F_NEXT = 1; // virtio-v1.2 §2.7.5
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1; // §2.7.6
export const VIRTQ_USED_F_NO_NOTIFY = 1; // §2.7.8
export const VIRTQ_MAX_SIZE = 32768;

// §2.7: alignment and length of the parts, in bytes.
export const VIRTQ_DESC_ALIGN = 16;
export const VIRTQ_AVAIL_ALIGN = 2;
export const VIRTQ_USED_ALIGN = 4;
export const descTableBytes = (size: number): number => 16 * size;
export const availRingBytes = (size: number): number => 6 + 2 * size;
export const usedRingBytes = (size: number): number => 6 + 8 * size;

// --- available ring: written by the driver, read by the device -------------------------------------------------------

/** Release; pairs with {@link loadAvailIdx}. Descriptors and ring entries written before are visible to who sees `idx`. */
export function publishAvailIdx(v: RingViews, r: Ring, idx: number): void {
  Atomics.store(v.u16, (r.avail >>> 1) + 1, idx);
}

/** Publishes `idx` for a driver that lost it, unless the index is no longer `expected`; as {@link publishAvailIdx}. */
export function replaceAvailIdx(v: RingViews, r: Ring, expected: number, idx: number): boolean {
  return Atomics.compareExchange(v.u16, (r.avail >>> 1) + 1, expected, idx) === expected;
}

/** Acquire; pairs with {@link publishAvailIdx}: entries below the index may be read after this, never before. */
export function loadAvailIdx(v: RingViews, r: Ring): number {
  return Atomics.load(v.u16, (r.avail >>> 1) + 1);
}

export function writeAvailEntry(v: RingViews, r: Ring, idx: number, head: number): void {
  v.u16[(r.avail >>> 1) + 2 + (idx & (r.size - 1))] = head;
}

/** Head of the chain at `idx`; from a guest it may be any u16. */
export function readAvailEntry(v: RingViews, r: Ring, idx: number): number {
  return v.u16[(r.avail >>> 1) + 2 + (idx & (r.size - 1))]!;
}

export function writeAvailFlags(v: RingViews, r: Ring, flags: number): void {
  Atomics.store(v.u16, r.avail >>> 1, flags);
}

export function loadAvailFlags(v: RingViews, r: Ring): number {
  return Atomics.load(v.u16, r.avail >>> 1);
}

// --- used ring: written by the device, read by the driver ------------------------------------------------------------

/** Release; pairs with {@link loadUsedIdx}. What the device wrote into the buffers is visible to who sees `idx`. */
export function publishUsedIdx(v: RingViews, r: Ring, idx: number): void {
  Atomics.store(v.u16, (r.used >>> 1) + 1, idx);
}

/** Acquire; pairs with {@link publishUsedIdx}. */
export function loadUsedIdx(v: RingViews, r: Ring): number {
  return Atomics.load(v.u16, (r.used >>> 1) + 1);
}

export function writeUsedElem(v: RingViews, r: Ring, idx: number, id: number, len: number): void {
  const at = (r.used >>> 2) + 1 + 2 * (idx & (r.size - 1));
  v.u32[at] = id;
  v.u32[at + 1] = len;
}

export function readUsedId(v: RingViews, r: Ring, idx: number): number {
  return v.u32[(r.used >>> 2) + 1 + 2 * (idx & (r.size - 1))]!;
}

export function readUsedLen(v: RingViews, r: Ring, idx: number): number {
  return v.u32[(r.used >>> 2) + 2 + 2 * (idx & (r.size - 1))]!;
}

export function writeUsedFlags(v: RingViews, r: Ring, flags: number): void {
  Atomics.store(v.u16, r.used >>> 1, flags);
}

export function loadUsedFlags(v: RingViews, r: Ring): number {
  return Atomics.load(v.u16, r.used >>> 1);
}

/**
 * The index in an Int32Array of the word that holds used flags and idx: it changes with every publication, so a
 * driver thread can wait on it.
 */
export function usedWordIndex(r: Ring): number {
  return r.used >>> 2;
}

// --- event index, §2.7.7 and §2.7.10 ---------------------------------------------------------------------------------

/**
 * Driver: "tell me when the used index passes this". Sequentially consistent, so that the write stands before the
 * driver's next {@link loadUsedIdx}: either the driver sees the new entry or the device sees the event.
 */
export function storeUsedEvent(v: RingViews, r: Ring, idx: number): void {
  Atomics.store(v.u16, (r.avail >>> 1) + 2 + r.size, idx);
}

/** Device; after {@link publishUsedIdx} (both sequentially consistent, see {@link storeUsedEvent}). */
export function loadUsedEvent(v: RingViews, r: Ring): number {
  return Atomics.load(v.u16, (r.avail >>> 1) + 2 + r.size);
}

/** Device: "tell me when the available index passes this"; must be followed by another {@link loadAvailIdx}. */
export function storeAvailEvent(v: RingViews, r: Ring, idx: number): void {
  Atomics.store(v.u16, (r.used >>> 1) + 2 + 4 * r.size, idx);
}

/** Driver; after {@link publishAvailIdx}. */
export function loadAvailEvent(v: RingViews, r: Ring): number {
  return Atomics.load(v.u16, (r.used >>> 1) + 2 + 4 * r.size);
}

/** vring_need_event(): has the index moved past `event` since `oldIdx`? All modulo 2^16. */
export function needsEvent(event: number, newIdx: number, oldIdx: number): boolean {
  return ((newIdx - event - 1) & 0xffff) < ((newIdx - oldIdx) & 0xffff);
}

// --- descriptors, §2.7.5: written by the driver before publication, read by the device after ---------------------------

/** `addrLo`, `addrHi`: the two halves of a 64-bit address. */
export function writeDesc(
  v: RingViews,
  r: Ring,
  i: number,
  addrLo: number,
  addrHi: number,
  len: number,
  flags: number,
  next: number,
): void {
  const at = (r.desc >>> 2) + 4 * i;
  v.u32[at] = addrLo;
  v.u32[at + 1] = addrHi;
  v.u32[at + 2] = len;
  v.u32[at + 3] = (flags & 0xffff) | (next << 16);
}

/** The address as a number; 2^53 and above is rounded, which no arena and no RAM reaches. */
export function readDescAddr(v: RingViews, r: Ring, i: number): number {
  const at = (r.desc >>> 2) + 4 * i;
  return v.u32[at + 1]! * 0x1_0000_0000 + v.u32[at]!;
}

export function readDescLen(v: RingViews, r: Ring, i: number): number {
  return v.u32[(r.desc >>> 2) + 4 * i + 2]!;
}

export function readDescFlags(v: RingViews, r: Ring, i: number): number {
  return v.u32[(r.desc >>> 2) + 4 * i + 3]! & 0xffff;
}

export function readDescNext(v: RingViews, r: Ring, i: number): number {
  return v.u32[(r.desc >>> 2) + 4 * i + 3]! >>> 16;
}
