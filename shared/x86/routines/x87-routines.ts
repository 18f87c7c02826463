// The x87 instructions' usual cases as routines: no exception pending, the registers there, normal numbers or zeros, rounding to nearest
// and to 64 bits. They set what the instruction sets (result, C1, PE, TOP, tags, instruction pointer) and return DONE, or touch nothing and
// return NOT_DONE; the helpers (actors/vcpu/engine-wasm/helpers/x87*.ts), which do everything, then follow. Intel SDM vol. 1 ch. 8.
import { VECTOR_SCRATCH } from '#shared/x86/cpu-state.js';
import type { Value } from '#shared/translate/emitter.js';
import type { Routine, RoutineEmitter, RoutineTable } from '#shared/translate/routine.js';
import { compute, squareRoot } from './extended-arithmetic.js';
import type { ExtendedOperation } from './extended-arithmetic.js';
import { DOUBLE, SINGLE, fromInteger, narrow, order, toInteger, widen } from './extended-conversion.js';
import type { Narrowed } from './extended-conversion.js';
import { DONE, X87Stack } from './x87-stack.js';
import type { Extended } from './x87-stack.js';

export const OPERATIONS: readonly ExtendedOperation[] = ['add', 'mul', 'sub', 'subr', 'div', 'divr'];
const C0_SHIFT = 8;
const C3_SHIFT = 14;
/** A comparison's result with ZF and CF in their places, and this bit to tell it from NOT_DONE. */
export const COMPARED = 0x10000;

const done = (e: RoutineEmitter): Value => e.i32(DONE);

/** ST(to) = ST(to) OP ST(from), then `pop` (0 or 1). */
function arithmeticStack(operation: ExtendedOperation): Routine {
  return {
    parameters: ['i64', 'i32', 'i32', 'i32'],
    body: (e, [ip, to, from, pop]) => {
      const stack = new X87Stack(e);
      stack.needPlainArithmetic();
      const slot = stack.valid(to!);
      const r = compute(e, operation, stack.load(slot), stack.load(stack.valid(from!)));
      stack.store(slot, r);
      stack.finishRounded(ip!, r.inexact, r.up);
      stack.pop(pop!);
      return done(e);
    },
  };
}

/** ST(0) = ST(0) OP a single or double. */
function arithmeticMemory(operation: ExtendedOperation, format: typeof SINGLE): Routine {
  return {
    parameters: ['i64', format.bits === 32 ? 'i32' : 'i64'],
    body: (e, [ip, raw]) => {
      const stack = new X87Stack(e);
      stack.needPlainArithmetic();
      const slot = stack.valid(e.i32(0));
      const r = compute(e, operation, stack.load(slot), widen(e, raw!, format));
      stack.store(slot, r);
      stack.finishRounded(ip!, r.inexact, r.up);
      return done(e);
    },
  };
}

const root: Routine = {
  parameters: ['i64'],
  body: (e, [ip]) => {
    const stack = new X87Stack(e);
    stack.needPlainArithmetic();
    const slot = stack.valid(e.i32(0));
    const r = squareRoot(e, stack.load(slot));
    stack.store(slot, r);
    stack.finishRounded(ip!, r.inexact, r.up);
    return done(e);
  },
};

/** Pushes what `value` makes of the arguments behind the IP. */
function loading(
  parameters: Routine['parameters'],
  value: (e: RoutineEmitter, args: readonly Value[]) => Extended,
): Routine {
  return {
    parameters: ['i64', ...parameters],
    body: (e, [ip, ...args]) => {
      const stack = new X87Stack(e);
      stack.needRoom();
      stack.push(value(e, args));
      stack.finishExact(ip!);
      return done(e);
    },
  };
}

const loadStack: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [ip, index]) => {
    const stack = new X87Stack(e);
    stack.needRoom();
    stack.push(stack.load(stack.valid(index!)));
    stack.finishExact(ip!);
    return done(e);
  },
};

/** ST(index) = ST(0), then `pop`. */
const storeStack: Routine = {
  parameters: ['i64', 'i32', 'i32'],
  body: (e, [ip, index, pop]) => {
    const stack = new X87Stack(e);
    stack.copyTo(index!, stack.load(stack.valid(e.i32(0))), pop!);
    stack.finishExact(ip!);
    return done(e);
  },
};

const exchange: Routine = {
  parameters: ['i64', 'i32'],
  body: (e, [ip, index]) => {
    const stack = new X87Stack(e);
    const [first, second] = [stack.valid(e.i32(0)), stack.valid(index!)];
    const [a, b] = [stack.load(first), stack.load(second)];
    stack.store(first, b);
    stack.store(second, a);
    stack.finishExact(ip!);
    return done(e);
  },
};

/** FCHS and FABS: sign and exponent are ANDed, then XORed with the arguments. */
const changeSign: Routine = {
  parameters: ['i64', 'i32', 'i32'],
  body: (e, [ip, keep, flip]) => {
    const stack = new X87Stack(e);
    const slot = stack.valid(e.i32(0));
    const a = stack.load(slot);
    stack.store(slot, { ...a, top: e.xor(e.and(a.top, keep!), flip!) });
    stack.finishExact(ip!);
    return done(e);
  },
};

/** FCMOVcc, which leaves C1 alone. */
const moveIf: Routine = {
  parameters: ['i64', 'i32', 'i32'],
  body: (e, [ip, condition, index]) => {
    const stack = new X87Stack(e);
    const [to, from] = [stack.valid(e.i32(0)), stack.valid(index!)];
    e.if(condition!, () => stack.store(to, stack.load(from)));
    stack.noteInstruction(ip!);
    return done(e);
  },
};

/** The datum to VECTOR_SCRATCH, and what the state will be once memory is written behind it, as the helper x87_store_memory leaves them. */
function storing(format: (e: RoutineEmitter, stack: X87Stack, a: Extended) => Narrowed): Routine {
  return {
    parameters: ['i64', 'i32'],
    body: (e, [ip, pop]) => {
      const stack = new X87Stack(e);
      const { pattern, inexact, up } = format(e, stack, stack.load(stack.valid(e.i32(0))));
      const after = stack.afterStore(inexact, up, pop!);
      e.setState('i64', VECTOR_SCRATCH, pattern);
      e.setState('i32', VECTOR_SCRATCH + 16, after.status);
      e.setState('i32', VECTOR_SCRATCH + 20, after.top);
      e.setState('i32', VECTOR_SCRATCH + 24, after.tags);
      e.setState('i32', VECTOR_SCRATCH + 28, e.i32(1));
      stack.noteInstruction(ip!);
      return done(e);
    },
  };
}

function storeFloat(format: typeof SINGLE): Routine {
  return storing((e, stack, a) => {
    stack.needPlainArithmetic();
    return narrow(e, a, format);
  });
}

const storeExtended: Routine = storing((e, _stack, a) => {
  e.setState('u16', VECTOR_SCRATCH + 8, a.top);
  return { pattern: a.significand, inexact: e.i32(0), up: e.i32(0) };
});

function storeInteger(bits: 16 | 32 | 64, truncate: boolean): Routine {
  return storing((e, stack, a) => {
    const rounding = stack.needMaskedExceptions();
    return toInteger(e, a, bits, truncate ? e.i32(3) : rounding);
  });
}

/** C3 and C0 of ST(0) against `other`, then pops. */
function comparing(
  parameters: Routine['parameters'],
  other: (e: RoutineEmitter, stack: X87Stack, arg: Value) => Extended,
): Routine {
  return {
    parameters: ['i64', ...parameters, 'i32'],
    body: (e, [ip, argument, pops]) => {
      const stack = new X87Stack(e);
      const a = stack.load(stack.valid(e.i32(0)));
      const { less, equal } = order(e, a, other(e, stack, argument!));
      stack.finishCompared(ip!, e.or(e.shl(less, e.i32(C0_SHIFT)), e.shl(equal, e.i32(C3_SHIFT))));
      stack.pop(pops!);
      return done(e);
    },
  };
}

/** FCOMI: gives ZF and CF in their places and COMPARED, or NOT_DONE. C1 stays. */
const compareFlags: Routine = {
  parameters: ['i64', 'i32', 'i32'],
  body: (e, [ip, index, pop]) => {
    const stack = new X87Stack(e);
    const a = stack.load(stack.valid(e.i32(0)));
    const { less, equal } = order(e, a, stack.load(stack.valid(index!)));
    stack.noteInstruction(ip!);
    stack.pop(pop!);
    return e.or(e.or(e.shl(equal, e.i32(6)), less), e.i32(COMPARED));
  },
};

function arithmeticTable(): RoutineTable {
  const table: Record<string, Routine> = {};
  for (const operation of OPERATIONS) {
    table[`x87_${operation}_stack`] = arithmeticStack(operation);
    table[`x87_${operation}_f32`] = arithmeticMemory(operation, SINGLE);
    table[`x87_${operation}_f64`] = arithmeticMemory(operation, DOUBLE);
  }
  return table;
}

function integerTable(): RoutineTable {
  const table: Record<string, Routine> = {};
  for (const bits of [16, 32, 64] as const) {
    table[`x87_store_i${bits}`] = storeInteger(bits, false);
    table[`x87_truncate_i${bits}`] = storeInteger(bits, true);
  }
  return table;
}

export const X87_ROUTINES: RoutineTable = {
  ...arithmeticTable(),
  ...integerTable(),
  x87_root: root,
  x87_load_f32: loading(['i32'], (e, [raw]) => widen(e, raw!, SINGLE)),
  x87_load_f64: loading(['i64'], (e, [raw]) => widen(e, raw!, DOUBLE)),
  x87_load_f80: loading(['i64', 'i32'], (_e, [significand, top]) => ({
    significand: significand!,
    top: top!,
  })),
  x87_load_integer: loading(['i64'], (e, [value]) => fromInteger(e, value!)),
  x87_load_stack: loadStack,
  x87_store_f32: storeFloat(SINGLE),
  x87_store_f64: storeFloat(DOUBLE),
  x87_store_f80: storeExtended,
  x87_store_stack: storeStack,
  x87_exchange: exchange,
  x87_sign: changeSign,
  x87_move_if: moveIf,
  x87_compare_stack: comparing(['i32'], (_e, stack, index) => stack.load(stack.valid(index))),
  x87_compare_f32: comparing(['i32'], (e, _stack, raw) => widen(e, raw, SINGLE)),
  x87_compare_f64: comparing(['i64'], (e, _stack, raw) => widen(e, raw, DOUBLE)),
  x87_compare_flags: compareFlags,
};
