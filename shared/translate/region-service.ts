// What a vCPU asks of a compiler: regions by ticket. The compiler actor serves it over mailboxes, a test in place.

import { createHash } from 'node:crypto';
import type { RegionRequest } from './region-request.js';

/** Of a module's name. */
export const MODULE_ID_BYTES = 16;

/** One region of a module. */
export interface CompiledRegion {
  /** As submitted. */
  readonly ticket: number;
  /** Its function is the export `r<index>`; −1: it could not be compiled. */
  readonly index: number;
  /** Words of its data: extra pages, then links. */
  readonly links: number;
  /** What it was made of, when that is not what was submitted: the asker must see whether it is right (region-match.ts). */
  readonly offered?: RegionRequest | undefined;
}

export interface CompiledModule {
  /** Names the module by its content (`moduleId`): the compiler's next generation means the same by it. */
  readonly id: string;
  /** The wire bytes; compiled before in this process, so that V8 only looks them up. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly regions: readonly CompiledRegion[];
}

/** A module's name: hexadecimal digits of the hash of its bytes. */
export function moduleId(bytes: Uint8Array): string {
  return createHash('sha256')
    .update(bytes)
    .digest('hex')
    .slice(0, 2 * MODULE_ID_BYTES);
}

export interface RegionService {
  /**
   * Asks for a region's code; false when it takes no more for now. `exact`: another region with the same head won't do. `address`: where the
   * region starts, for its name in profiles and no more.
   */
  submit(ticket: number, request: RegionRequest, exact: boolean, address: bigint): boolean;
  /** The oldest answer that was not taken yet. */
  take(): CompiledModule | undefined;
  /** Absent where nothing is kept. */
  readonly offers?: RegionOffers | undefined;
}

/** What was compiled before: by other vCPUs, in other boots. Regions are known by their heads (`headHash`). */
export interface RegionOffers {
  /** False: there is none with such a head. */
  mayHave(head: number): boolean;
  /** Asks for one, which the answer offers; its index is −1 when there is none. False when no more can be asked for now. */
  ask(ticket: number, head: number): boolean;
}
