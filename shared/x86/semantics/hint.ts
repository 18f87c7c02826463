// Instructions that change no register: NOP in all lengths, PAUSE, ENDBR, prefetches, fences, cache-line flushes.
// Intel SDM vol. 2. CET and CLDEMOTE are not announced: their hint encodings are NOPs.
import type { Emitter, SemanticsEntry, SemanticsTable } from '#shared/translate/emitter.js';
import { CPL } from '#shared/x86/cpu-state.js';

const GENERAL_PROTECTION = 13;
const nothing = (): void => {};

const NOPS = [
  'Nop',
  'Pause',
  'Endbr32',
  'Endbr64',
  'Reservednop',
  'Prefetch',
  'Prefetchw',
  'Prefetchnta',
  'Prefetcht0',
  'Prefetcht1',
  'Prefetcht2',
];

const table: Record<string, SemanticsEntry> = {};
for (const name of NOPS) table[name] = { sem: nothing };

/** WBINVD and INVD: memory is coherent, so there is nothing to write back. */
function cacheFlush(e: Emitter): void {
  e.if(e.getState('i32', CPL), () => e.raise(GENERAL_PROTECTION, 0));
}

export const hintSemantics: SemanticsTable = {
  ...table,
  // Every access of ours is at least as ordered as the guest's own: only a store followed by a load needs the fence.
  Mfence: { sem: (e) => void e.op('atomic.fence', []) },
  Lfence: { sem: nothing },
  Sfence: { sem: nothing },
  // Faults as a read of one byte does.
  Clflush: { sem: (_e, op) => void op.readLow(0, 8) },
  Wbinvd: { sem: cacheFlush, notOnHost: 'privileged' },
  Invd: { sem: cacheFlush, notOnHost: 'privileged' },
};
