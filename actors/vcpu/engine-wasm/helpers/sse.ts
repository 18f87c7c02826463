// The SSE helpers by name, as generated code calls them. They work on the state page alone.
import {
  arithmetic,
  compareFlags,
  comparePredicate,
  conversion,
  dotProduct,
  round,
  scalarToInteger,
} from './sse-float.js';
import { compareStrings, crc32, crc32Quad } from './sse-string.js';
import { raiseByPage, x87UnitOf } from './x87.js';
import type { PageHelper } from './x87.js';

function onPage(body: (page: DataView, a0: number, a1: number, a2: number) => number): PageHelper {
  return (cpu, a0, a1, a2) => body(x87UnitOf(cpu).page, a0, a1, a2);
}

export const SSE_HELPERS: Readonly<Record<string, PageHelper>> = {
  sse_arithmetic: onPage((page, operation, shape) => arithmetic(page, operation, shape, raiseByPage)),
  sse_dot: onPage((page, control, shape) => dotProduct(page, control, shape, raiseByPage)),
  sse_compare: onPage((page, predicate, shape) => comparePredicate(page, predicate, shape, raiseByPage)),
  sse_compare_flags: onPage((page, quiet, shape) => compareFlags(page, quiet, shape, raiseByPage)),
  sse_round: onPage((page, control, shape) => round(page, control, shape, raiseByPage)),
  sse_to_integer: onPage((page, floatBits, bits, truncate) =>
    scalarToInteger(page, floatBits, bits, truncate, raiseByPage),
  ),
  sse_convert: onPage((page, number, flags) => conversion(page, number, flags, raiseByPage)),
  sse_compare_strings: onPage(compareStrings),
  sse_crc32: onPage(crc32),
  sse_crc32_quad: onPage(crc32Quad),
};
