// Messages between the vCPUs and the compiler. A vCPU posts requests to the mailbox `vcpu-N->compiler`; answers come by
// `compiler->vcpu-N`, and PENDING_REGION tells the vCPU that one waits. A request that is never answered costs speed only.

import type { Region } from '#shared/base/region.js';
import {
  type CompiledModule,
  type CompiledRegion,
  MODULE_ID_BYTES,
} from '#shared/translate/region-service.js';
import { MAX_REGION_BYTES, decodeRegionRequest } from '#shared/translate/region-request.js';

export const COMPILER_NAME = 'compiler';

/** u32 ×4: ticket, 1 for that very region, address of the region's start; then a request (shared/translate/region-request.ts). */
export const REQUEST_KIND = 1;
/**
 * The module's id; u32 ×2: regions, bytes of the module; u32 ×4 each region: ticket, index, links, bytes of the offered request (0 for none);
 * then the module and those requests.
 */
export const ANSWER_KIND = 2;
/** u32 ×2: ticket, head (shared/translate/region-request.ts). */
export const ASK_KIND = 3;
export const ASK_BYTES = 8;

/** Of the compiler's state page, behind its counters: the heads it has regions for (shared/translate/head-filter.ts). */
export function headFilterRegion(statePage: Region): Region {
  return { offset: statePage.offset + 4096, bytes: 32 * 1024 };
}

/** Of the file of one engine version. Files of three versions are kept at most. */
export const CACHE_LIMIT_BYTES = 64 * 2 ** 20;

export const REQUEST_ENTRIES = 16;
export const REQUEST_HEADER_BYTES = 16;
export const REQUEST_PAYLOAD_BYTES = REQUEST_HEADER_BYTES + MAX_REGION_BYTES;
export const ANSWER_ENTRIES = 4;
export const ANSWER_PAYLOAD_BYTES = 384 * 1024;
const HEADER_BYTES = MODULE_ID_BYTES + 8;
const REGION_BYTES = 16;

export interface CompilerParams {
  readonly vcpus: readonly string[];
  /** Folder of the translation cache; absent: none is kept. */
  readonly cacheFolder?: string | undefined;
  /** Symbols of the guest's kernel, for the names of regions in profiles (shared/boot/symbol-table.ts). */
  readonly symbolsPath?: string | undefined;
  /** It says what it does (shared/ipc/engine-counters.ts). */
  readonly statistics: boolean;
}

/** Bytes of an answer, or more than fit into a message. */
export function answerBytes(answer: CompiledModule): number {
  const offered = answer.regions.reduce((sum, region) => sum + (region.offered?.bytes.length ?? 0), 0);
  return HEADER_BYTES + answer.regions.length * REGION_BYTES + answer.bytes.length + offered;
}

/** Lays an answer out in a message's payload. */
export function encodeAnswer(answer: CompiledModule, payload: Uint8Array): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const { id, bytes, regions } = answer;
  payload.set(Buffer.from(id, 'hex'));
  view.setUint32(MODULE_ID_BYTES, regions.length, true);
  view.setUint32(MODULE_ID_BYTES + 4, bytes.length, true);
  let end = HEADER_BYTES + regions.length * REGION_BYTES;
  payload.set(bytes, end);
  end += bytes.length;
  regions.forEach(({ ticket, index, links, offered }, i) => {
    const at = HEADER_BYTES + i * REGION_BYTES;
    [ticket, index, links, offered?.bytes.length ?? 0].forEach((word, j) =>
      view.setInt32(at + j * 4, word, true),
    );
    if (offered === undefined) return;
    payload.set(offered.bytes, end);
    end += offered.bytes.length;
  });
}

/** Reads an answer; undefined when the payload is none. Copies it. */
export function decodeAnswer(payload: Uint8Array): CompiledModule | undefined {
  if (payload.length < HEADER_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const count = view.getUint32(MODULE_ID_BYTES, true);
  const length = view.getUint32(MODULE_ID_BYTES + 4, true);
  const start = HEADER_BYTES + count * REGION_BYTES;
  let end = start + length;
  if (end > payload.length) return undefined;
  const regions = Array.from({ length: count }, (_, i): CompiledRegion => {
    const [ticket, index, links, offeredBytes] = [0, 4, 8, 12].map((at) =>
      view.getInt32(HEADER_BYTES + i * REGION_BYTES + at, true),
    ) as [number, number, number, number];
    if (offeredBytes === 0) return { ticket, index, links };
    const offered = decodeRegionRequest(payload.slice(end, (end += offeredBytes)));
    return { ticket, index: offered === undefined ? -1 : index, links, offered };
  });
  return {
    id: Buffer.from(payload.subarray(0, MODULE_ID_BYTES)).toString('hex'),
    bytes: Uint8Array.from(payload.subarray(start, start + length)),
    regions,
  };
}
