// x87 instructions that compute: loads, stores, arithmetic, comparison, constants, stack control. Intel SDM vol. 2. Each checks, brings its
// operand, and calls the helper that does the work (actors/vcpu/engine-wasm/helpers/x87*.ts).
import { HELPER_ARG0 } from '#shared/x86/cpu-state.js';
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { OPERATIONS } from '#shared/x86/routines/x87-routines.js';
import {
  STORE_POP,
  STORE_TRUNCATE,
  TYPE_BCD,
  TYPE_F32,
  TYPE_F64,
  TYPE_F80,
  TYPE_I16,
  TYPE_I64,
  floatType,
  integerType,
  readOperand,
  storeOperand,
  unwaitingTable,
  usually,
  usuallyOnStack,
  x87Helper,
  x87Table,
} from './x87-operand.js';
import { checkPendingX87, writeOrderFlags } from './sse-operand.js';

const POP = 8;

/** ST(i) of a register operand; absent operands are ST(1), as in FADDP's short form. */
function stack(e: Emitter, op: Operands, index: number): Value {
  return op.count > index ? op.registerNumber(index) : e.i32(index === 0 ? 0 : 1);
}

/** A small integer memory operand as a double's pattern, exactly. */
function integerAsDouble(e: Emitter, type: number, value: Value): Value {
  const integer = type === TYPE_I16 ? e.signExtend(value, 16) : value;
  return e.op('i64.reinterpret_f64', [e.op('f64.convert_i32_s', [integer])]);
}

/** A memory operand of FADD, FIADD, FCOM …: the form of the routine that takes it, and its value. */
function numberOperand(e: Emitter, type: number, value: Value): { form: string; value: Value } {
  if (type === TYPE_F32) return { form: 'f32', value };
  return { form: 'f64', value: type === TYPE_F64 ? value : integerAsDouble(e, type, value) };
}

function binaryMemory(operation: number, typeOf: (op: Operands) => number): Semantics {
  return (e, op) => {
    const type = typeOf(op);
    const operand = readOperand(e, op, type);
    const { form, value } = numberOperand(e, type, operand.values[0]!);
    usually(e, `x87_${OPERATIONS[operation]!}_${form}`, [value], () => {
      operand.keep();
      x87Helper(e, 'x87_binary_memory', [e.i32(operation), e.i32(type)]);
    });
  };
}

function binaryStack(operation: number, pop: boolean): Semantics {
  return (e, op) => {
    const [to, from] = [op.registerNumber(0), op.registerNumber(1)];
    const control = e.i32(operation | (pop ? POP : 0));
    usuallyOnStack(e, `x87_${OPERATIONS[operation]!}_stack`, [to, from, e.i32(pop ? 1 : 0)], () =>
      x87Helper(e, 'x87_binary_stack', [control, to, from]),
    );
  };
}

function binary(operation: number): Semantics {
  const [memory, registers] = [binaryMemory(operation, floatType), binaryStack(operation, false)];
  return (e, op) => (op.kind(0) === 'memory' ? memory(e, op) : registers(e, op));
}

function arithmetic(): Record<string, Semantics> {
  const table: Record<string, Semantics> = {};
  OPERATIONS.forEach((name, operation) => {
    table[`F${name}`] = binary(operation);
    table[`Fi${name}`] = binaryMemory(operation, integerType);
    table[`F${name}p`] = binaryStack(operation, true);
  });
  return table;
}

/** `control`: bit 0 quiet, bits 1–2 pops. */
function compareMemory(control: number, typeOf: (op: Operands) => number): Semantics {
  return (e, op) => {
    const type = typeOf(op);
    const operand = readOperand(e, op, type);
    const { form, value } = numberOperand(e, type, operand.values[0]!);
    usually(e, `x87_compare_${form}`, [value, e.i32(control >> 1)], () => {
      operand.keep();
      x87Helper(e, 'x87_compare_memory', [e.i32(control), e.i32(type)]);
    });
  };
}

function compareForms(control: number): Semantics {
  const memory = compareMemory(control, floatType);
  return (e, op) => {
    if (op.count > 0 && op.kind(0) === 'memory') {
      memory(e, op);
      return;
    }
    const index = stack(e, op, 1);
    usuallyOnStack(e, 'x87_compare_stack', [index, e.i32(control >> 1)], () =>
      x87Helper(e, 'x87_compare_stack', [e.i32(control), index]),
    );
  };
}

function compareToFlags(control: number): Semantics {
  return (e, op) => {
    const index = op.registerNumber(1);
    const quick = e.routine('x87_compare_flags', [e.instructionIp(), index, e.i32(control >> 1)]);
    const image = e.unlessRare(
      quick,
      'i32',
      () => quick,
      () => {
        checkPendingX87(e);
        x87Helper(e, 'x87_compare_flags', [e.i32(control), index]);
        return e.getState('i32', HELPER_ARG0);
      },
    );
    writeOrderFlags(e, image);
  };
}

const QUIET = 1;
const POP_ONE = 2;
const POP_TWO = 4;

const load: Semantics = (e, op) => {
  if (op.kind(0) === 'memory') {
    loadTyped(floatType)(e, op);
    return;
  }
  const index = stack(e, op, op.count - 1);
  usuallyOnStack(e, 'x87_load_stack', [index], () => x87Helper(e, 'x87_load_stack', [index]));
};

/** The routine and its arguments that load an operand. */
function loadRoutine(e: Emitter, type: number, values: readonly Value[]): [string, readonly Value[]] {
  switch (type) {
    case TYPE_F32:
      return ['x87_load_f32', values];
    case TYPE_F64:
      return ['x87_load_f64', values];
    case TYPE_F80:
      return ['x87_load_f80', values];
    case TYPE_I64:
      return ['x87_load_integer', values];
    default: {
      const value = type === TYPE_I16 ? e.signExtend(values[0]!, 16) : values[0]!;
      return ['x87_load_integer', [e.extendS(value)]];
    }
  }
}

function loadTyped(typeOf: (op: Operands) => number): Semantics {
  return (e, op) => {
    const type = typeOf(op);
    const operand = readOperand(e, op, type);
    const byHelper = (): void => {
      operand.keep();
      x87Helper(e, 'x87_load_memory', [e.i32(type)]);
    };
    if (type === TYPE_BCD) byHelper();
    else usually(e, ...loadRoutine(e, type, operand.values), byHelper);
  };
}

function store(control: number): Semantics {
  return (e, op) => {
    if (op.kind(0) === 'memory') {
      storeOperand(e, op, floatType(op), control);
      return;
    }
    const index = op.registerNumber(0);
    usuallyOnStack(e, 'x87_store_stack', [index, e.i32(control & STORE_POP)], () =>
      x87Helper(e, 'x87_store_stack', [index, e.i32(control)]),
    );
  };
}

function storeTyped(typeOf: (op: Operands) => number, control: number): Semantics {
  return (e, op) => storeOperand(e, op, typeOf(op), control);
}

function constant(which: number): Semantics {
  return (e) => x87Helper(e, 'x87_load_constant', [e.i32(which)]);
}

/** FLD1, FLDZ: `top` with `significand`, by whatever rule. */
function exactConstant(which: number, significand: bigint, top: number): Semantics {
  return (e) =>
    usuallyOnStack(e, 'x87_load_f80', [e.i64(significand), e.i32(top)], () =>
      x87Helper(e, 'x87_load_constant', [e.i32(which)]),
    );
}

/** Operations as the helper numbers them. */
const UNARY_CHS = 0;
const UNARY_ABS = 1;
const UNARY_SQRT = 2;
const UNARY_RNDINT = 3;

const unaryHelper = (e: Emitter, operation: number): void => x87Helper(e, 'x87_unary', [e.i32(operation)]);

/** Sign and exponent are ANDed with `keep`, then XORed with `flip`. */
function changeSign(operation: number, keep: number, flip: number): Semantics {
  return (e) => usuallyOnStack(e, 'x87_sign', [e.i32(keep), e.i32(flip)], () => unaryHelper(e, operation));
}

/** FCMOVcc; `test` gives the condition from the flags. */
function moveIf(test: (e: Emitter) => Value): Semantics {
  return (e, op) => {
    const args = [test(e), op.registerNumber(1)];
    usuallyOnStack(e, 'x87_move_if', args, () => x87Helper(e, 'x87_move_if', args));
  };
}

function stackControl(what: number): Semantics {
  return (e, op) =>
    x87Helper(e, 'x87_stack_control', [e.i32(what), op.count > 0 ? op.registerNumber(0) : e.i32(0)]);
}

const exchange: Semantics = (e, op) => {
  const index = stack(e, op, 1);
  usuallyOnStack(e, 'x87_exchange', [index], () => x87Helper(e, 'x87_exchange', [index]));
};

const squareRoot: Semantics = (e) => usuallyOnStack(e, 'x87_root', [], () => unaryHelper(e, UNARY_SQRT));

/** One unit in the last place of a 64-bit significand, which the manual allows. */
export const TRANSCENDENTAL_ULPS = 1;

function transcendental(which: number): Semantics {
  return (e) => x87Helper(e, 'x87_transcendental', [e.i32(which)]);
}

const not = (e: Emitter, a: Value): Value => e.eqz(a);

export const X87_ARITHMETIC: SemanticsTable = {
  ...unwaitingTable({
    ...arithmetic(),
    Fcom: compareForms(0),
    Fcomp: compareForms(POP_ONE),
    Fcompp: compareForms(POP_TWO),
    Fucom: compareForms(QUIET),
    Fucomp: compareForms(QUIET | POP_ONE),
    Fucompp: compareForms(QUIET | POP_TWO),
    Ficom: compareMemory(0, integerType),
    Ficomp: compareMemory(POP_ONE, integerType),
    Fcomi: compareToFlags(0),
    Fcomip: compareToFlags(POP_ONE),
    Fucomi: compareToFlags(QUIET),
    Fucomip: compareToFlags(QUIET | POP_ONE),
    Fld: load,
    Fild: loadTyped(integerType),
    Fbld: loadTyped(() => TYPE_BCD),
    Fst: store(0),
    Fstp: store(STORE_POP),
    Fist: storeTyped(integerType, 0),
    Fistp: storeTyped(integerType, STORE_POP),
    Fisttp: storeTyped(integerType, STORE_POP | STORE_TRUNCATE),
    Fbstp: storeTyped(() => TYPE_BCD, STORE_POP),
    Fld1: exactConstant(0, 1n << 63n, 0x3fff),
    Fldz: exactConstant(6, 0n, 0),
    Fchs: changeSign(UNARY_CHS, 0xffff, 0x8000),
    Fabs: changeSign(UNARY_ABS, 0x7fff, 0),
    Fsqrt: squareRoot,
    Fxch: exchange,
    Fcmovb: moveIf((e) => e.getFlag('cf')),
    Fcmovnb: moveIf((e) => not(e, e.getFlag('cf'))),
    Fcmove: moveIf((e) => e.getFlag('zf')),
    Fcmovne: moveIf((e) => not(e, e.getFlag('zf'))),
    Fcmovbe: moveIf((e) => e.or(e.getFlag('cf'), e.getFlag('zf'))),
    Fcmovnbe: moveIf((e) => not(e, e.or(e.getFlag('cf'), e.getFlag('zf')))),
    Fcmovu: moveIf((e) => e.getFlag('pf')),
    Fcmovnu: moveIf((e) => not(e, e.getFlag('pf'))),
  }),
  ...x87Table({
    Ftst: (e) => x87Helper(e, 'x87_compare_zero'),
    Fxam: (e) => x87Helper(e, 'x87_examine'),
    Fstpnce: (e, op) => x87Helper(e, 'x87_store_stack', [op.registerNumber(0), e.i32(STORE_POP), e.i32(1)]),
    Fldl2t: constant(1),
    Fldl2e: constant(2),
    Fldpi: constant(3),
    Fldlg2: constant(4),
    Fldln2: constant(5),
    Frndint: (e) => unaryHelper(e, UNARY_RNDINT),
    Ffree: stackControl(0),
    Ffreep: stackControl(1),
    Fincstp: stackControl(2),
    Fdecstp: stackControl(3),
    Fnop: stackControl(4),
    Fprem: (e) => x87Helper(e, 'x87_remainder', [e.i32(0)]),
    Fprem1: (e) => x87Helper(e, 'x87_remainder', [e.i32(1)]),
    Fscale: (e) => x87Helper(e, 'x87_scale'),
    Fxtract: (e) => x87Helper(e, 'x87_extract'),
  }),
  ...x87Table(
    {
      F2xm1: transcendental(0),
      Fyl2x: transcendental(1),
      Fyl2xp1: transcendental(2),
      Fptan: transcendental(3),
      Fpatan: transcendental(4),
      Fsin: transcendental(5),
      Fcos: transcendental(6),
      Fsincos: transcendental(7),
    },
    { tolerance: TRANSCENDENTAL_ULPS },
  ),
};
