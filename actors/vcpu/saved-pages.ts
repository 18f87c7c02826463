// A vCPU's saved state: its state page, then its LAPIC page, as they stand in the arena.

import type { VcpuLayout } from '#shared/memory/machine-layout.js';

type Pages = Pick<VcpuLayout, 'state' | 'lapic'>;

export function copyPagesOut(arena: Uint8Array, { state, lapic }: Pages): Uint8Array {
  const saved = new Uint8Array(state.bytes + lapic.bytes);
  saved.set(arena.subarray(state.offset, state.offset + state.bytes));
  saved.set(arena.subarray(lapic.offset, lapic.offset + lapic.bytes), state.bytes);
  return saved;
}

export function copyPagesIn(arena: Uint8Array, { state, lapic }: Pages, saved: Uint8Array): void {
  if (saved.length !== state.bytes + lapic.bytes) throw new Error(`a vCPU's state of ${saved.length} bytes`);
  arena.set(saved.subarray(0, state.bytes), state.offset);
  arena.set(saved.subarray(state.bytes), lapic.offset);
}
