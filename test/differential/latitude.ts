// What a comparison of one case leaves out because the host is of another maker than the processor that ours is modelled
// on (Intel's). An Intel host gets none: there everything is compared.

import type { Case, Outcome } from './case-record.js';

/** Each member that is absent leaves nothing out. */
export interface Latitude {
  /** The outcomes have nothing to do with each other. */
  readonly all?: true;
  /** Both faulted on memory; which of the faults came first is open. */
  readonly fault?: true;
  /** RFLAGS bits. */
  readonly flags?: number;
  /** Bits of general registers, by encoding number. */
  readonly registers?: ReadonlyMap<number, bigint>;
  /** Parts of the data pages: offset and bytes. */
  readonly memory?: readonly (readonly [number, number])[];
  /** XMM elements of so many bits may be different NaNs. */
  readonly nans?: 32 | 64;
}

export const NO_LATITUDE: Latitude = {};

/** How a host is held against the engine. */
export interface HostRules {
  /** The case as the host's decoder reads it, in code that ours reads so too. */
  decoded(c: Case): Case;
  /** What is left out of a comparison that showed differences. */
  latitude(c: Case, host: Outcome, engine: Outcome): Latitude;
}
