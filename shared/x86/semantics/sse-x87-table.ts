// All of SSE, MMX and x87 in one table. The string instructions that iced-x86 calls Movsd and Cmpsd too have keys of their own.
import type { SemanticsTable } from '#shared/translate/emitter.js';
import { SSE_COMPARE } from './sse-compare.js';
import { SSE_CONVERT } from './sse-convert.js';
import { SSE_FLOAT } from './sse-float.js';
import { SSE_INTEGER } from './sse-integer.js';
import { SSE_MOVE } from './sse-move.js';
import { SSE_SHUFFLE } from './sse-shuffle.js';
import { SSE_STATE } from './sse-state.js';
import { SSE_STRING } from './sse-string.js';
import { X87_ARITHMETIC } from './x87-arithmetic.js';
import { X87_CONTROL_TABLE } from './x87-control.js';

export const SSE_X87: SemanticsTable = {
  ...SSE_MOVE,
  ...SSE_INTEGER,
  ...SSE_SHUFFLE,
  ...SSE_FLOAT,
  ...SSE_COMPARE,
  ...SSE_CONVERT,
  ...SSE_STRING,
  ...SSE_STATE,
  ...X87_ARITHMETIC,
  ...X87_CONTROL_TABLE,
};
