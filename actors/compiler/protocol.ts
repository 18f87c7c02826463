// Messages between the vCPUs and the compiler. A vCPU posts requests to the mailbox `vcpu-N->compiler`; answers come by
// `compiler->vcpu-N`, and PENDING_REGION tells the vCPU that one waits. A request that is never answered costs speed only.

import { type CompiledModule, MODULE_ID_BYTES } from '#shared/translate/region-service.js';
import { MAX_REGION_BYTES } from '#shared/translate/region-request.js';

export const COMPILER_NAME = 'compiler';

/** u32 ×3: ticket, address of the region's start; then a request (shared/translate/region-request.ts). */
export const REQUEST_KIND = 1;
/** The module's id; u32 ×2: regions, bytes of the module; u32 ×4 each region: ticket, index, links, 0; then the module. */
export const ANSWER_KIND = 2;

/** Of the file of one engine version. Files of three versions are kept at most. */
export const CACHE_LIMIT_BYTES = 64 * 2 ** 20;

export const REQUEST_ENTRIES = 16;
export const REQUEST_HEADER_BYTES = 12;
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
  return HEADER_BYTES + answer.regions.length * REGION_BYTES + answer.bytes.length;
}

/** Lays an answer out in a message's payload. */
export function encodeAnswer(answer: CompiledModule, payload: Uint8Array): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const { id, bytes, regions } = answer;
  payload.set(Buffer.from(id, 'hex'));
  view.setUint32(MODULE_ID_BYTES, regions.length, true);
  view.setUint32(MODULE_ID_BYTES + 4, bytes.length, true);
  regions.forEach(({ ticket, index, links }, i) => {
    const at = HEADER_BYTES + i * REGION_BYTES;
    [ticket, index, links, 0].forEach((word, j) => view.setInt32(at + j * 4, word, true));
  });
  payload.set(bytes, HEADER_BYTES + regions.length * REGION_BYTES);
}

/** Reads an answer; undefined when the payload is none. Copies the module. */
export function decodeAnswer(payload: Uint8Array): CompiledModule | undefined {
  if (payload.length < HEADER_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const count = view.getUint32(MODULE_ID_BYTES, true);
  const length = view.getUint32(MODULE_ID_BYTES + 4, true);
  const start = HEADER_BYTES + count * REGION_BYTES;
  if (start + length > payload.length) return undefined;
  const regions = Array.from({ length: count }, (_, i) => {
    const at = HEADER_BYTES + i * REGION_BYTES;
    return {
      ticket: view.getInt32(at, true),
      index: view.getInt32(at + 4, true),
      links: view.getInt32(at + 8, true),
    };
  });
  return {
    id: Buffer.from(payload.subarray(0, MODULE_ID_BYTES)).toString('hex'),
    bytes: Uint8Array.from(payload.subarray(start, start + length)),
    regions,
  };
}
