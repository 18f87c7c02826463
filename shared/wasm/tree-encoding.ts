// Bytes of the operators and accesses that tree-opcodes.ts numbers.

import type { ByteBuffer } from './byte-buffer.js';
import { N_CONST128, N_SELECT } from './tree-nodes.js';
import { OPERATOR_IMMEDIATES, PREFIX_FC, PREFIX_FD, TREE_ACCESSES } from './tree-opcodes.js';

/** `immediate` is an index into `blobs` where there are several bytes of them. */
export function writeOperator(
  out: ByteBuffer,
  code: number,
  immediate: number,
  blobs: readonly (readonly number[])[],
): void {
  if (code < PREFIX_FD) out.byte(code);
  else if (code === N_SELECT) out.byte(0x1b);
  else if (code === N_CONST128) {
    out.append([0xfd, 12]);
    out.append(blobs[immediate]!);
  } else {
    out.byte(code < PREFIX_FC ? 0xfd : 0xfc);
    out.u32(code & (PREFIX_FD - 1));
    if (OPERATOR_IMMEDIATES[code] === 1) out.byte(immediate);
    else if (OPERATOR_IMMEDIATES[code]! > 1) out.append(blobs[immediate]!);
  }
}

export function writeAccess(out: ByteBuffer, number: number, offset: number, align: number): void {
  const { prefix, code } = TREE_ACCESSES[number]!;
  if (prefix !== 0) out.byte(prefix);
  out.byte(code);
  out.u32(align);
  out.u32(offset);
}
