// What a vCPU asks of a compiler: regions by ticket. The compiler actor serves it over mailboxes, a test in place.

import type { RegionRequest } from './region-request.js';

/** One region of a module. */
export interface CompiledRegion {
  /** As submitted. */
  readonly ticket: number;
  /** Its function is the export `r<index>`; −1: it could not be compiled. */
  readonly index: number;
  /** Words of its data: extra pages, then links. */
  readonly links: number;
}

export interface CompiledModule {
  /** Names the module: another answer with the same id is the same code. */
  readonly id: number;
  /** The wire bytes; compiled before in this process, so that V8 only looks them up. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly regions: readonly CompiledRegion[];
}

export interface RegionService {
  /** False when it takes no more for now. */
  submit(ticket: number, request: RegionRequest): boolean;
  /** The oldest answer that was not taken yet. */
  take(): CompiledModule | undefined;
}
