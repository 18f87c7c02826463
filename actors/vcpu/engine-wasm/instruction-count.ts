// The count of guest instructions. A block of the interpreter's counts all its instructions when it is entered; what an exit from its
// middle leaves undone is taken back here. Regions correct their count themselves (shared/translate/region-count.ts).

import {
  RECORD_BYTES,
  RECORD_IMMEDIATE,
  RECORD_INSTRUCTIONS,
  RECORD_IP_OFFSET,
} from '#shared/translate/op-record.js';
import * as S from '#shared/x86/cpu-state.js';

/** After an exit from generated code that counts. `i32`: the state page; `view`: the arena. */
export function uncountRest(i32: Int32Array, view: DataView, exit: number): void {
  const counted = i32[S.COUNTED_RECORD / 4]!;
  if (counted === 0) return;
  let ended: (record: number) => boolean;
  switch (exit) {
    case S.EXIT_EXCEPTION:
    case S.EXIT_REPEAT:
    case S.EXIT_DROPPED: {
      // The instruction at RIP did not retire. Blocks are shorter than 64 KiB.
      const next = (i32[S.RIP / 4]! - i32[S.BLOCK_RIP / 4]!) & 0xffff;
      // A block that was dropped before it was entered: the one that is counted ran to its end.
      if (next === 0 && exit === S.EXIT_DROPPED) return;
      ended = (record) => view.getUint16(record + RECORD_IP_OFFSET, true) >= next;
      break;
    }
    case S.EXIT_BRANCH:
    case S.EXIT_HALT: {
      const last = i32[S.CURRENT_RECORD / 4]!;
      ended = (record) => record > last;
      break;
    }
    default:
      return;
  }
  let left = view.getInt32(counted + RECORD_IMMEDIATE, true);
  for (let record = counted + RECORD_BYTES; left > 0 && !ended(record); record += RECORD_BYTES)
    left -= view.getUint8(record + RECORD_INSTRUCTIONS);
  if (left > 0)
    view.setBigInt64(i32.byteOffset + S.COUNT_INTERPRETED, readCount(i32, view) - BigInt(left), true);
}

const readCount = (i32: Int32Array, view: DataView): bigint =>
  view.getBigInt64(i32.byteOffset + S.COUNT_INTERPRETED, true);
