// x87 instructions that compute: loads, stores, arithmetic, comparison, constants, stack control. Intel SDM vol. 2. Each checks, brings its
// operand, and calls the helper that does the work (actors/vcpu/engine-wasm/helpers/x87*.ts).
import { HELPER_ARG0 } from '#shared/x86/cpu-state.js';
import type { Emitter, Operands, Semantics, SemanticsTable, Value } from '#shared/translate/emitter.js';
import {
  STORE_POP,
  STORE_TRUNCATE,
  TYPE_BCD,
  fetchOperand,
  floatType,
  integerType,
  storeOperand,
  x87Table,
} from './x87-operand.js';

const OPERATIONS = ['add', 'mul', 'sub', 'subr', 'div', 'divr'];
const POP = 8;

/** ST(i) of a register operand; absent operands are ST(1), as in FADDP's short form. */
function stack(e: Emitter, op: Operands, index: number): Value {
  return op.count > index ? op.registerNumber(index) : e.i32(index === 0 ? 0 : 1);
}

function binary(operation: number): Semantics {
  return (e, op) => {
    if (op.kind(0) === 'memory') {
      const type = floatType(op);
      fetchOperand(e, op, type);
      e.helper('x87_binary_memory', [e.i32(operation), e.i32(type)]);
    } else e.helper('x87_binary_stack', [e.i32(operation), op.registerNumber(0), op.registerNumber(1)]);
  };
}

function binaryInteger(operation: number): Semantics {
  return (e, op) => {
    const type = integerType(op);
    fetchOperand(e, op, type);
    e.helper('x87_binary_memory', [e.i32(operation), e.i32(type)]);
  };
}

function binaryPop(operation: number): Semantics {
  return (e, op) =>
    e.helper('x87_binary_stack', [e.i32(operation | POP), op.registerNumber(0), op.registerNumber(1)]);
}

function arithmetic(): Record<string, Semantics> {
  const table: Record<string, Semantics> = {};
  OPERATIONS.forEach((name, operation) => {
    table[`F${name}`] = binary(operation);
    table[`Fi${name}`] = binaryInteger(operation);
    table[`F${name}p`] = binaryPop(operation);
  });
  return table;
}

/** `control`: bit 0 quiet, bits 1–2 pops. */
function compareForms(control: number): Semantics {
  return (e, op) => {
    if (op.count > 0 && op.kind(0) === 'memory') {
      const type = floatType(op);
      fetchOperand(e, op, type);
      e.helper('x87_compare_memory', [e.i32(control), e.i32(type)]);
    } else e.helper('x87_compare_stack', [e.i32(control), stack(e, op, 1)]);
  };
}

function compareInteger(control: number): Semantics {
  return (e, op) => {
    const type = integerType(op);
    fetchOperand(e, op, type);
    e.helper('x87_compare_memory', [e.i32(control), e.i32(type)]);
  };
}

function compareToFlags(control: number): Semantics {
  return (e, op) => {
    e.helper('x87_compare_flags', [e.i32(control), op.registerNumber(1)]);
    e.writeArithmeticFlags(e.getState('i32', HELPER_ARG0));
  };
}

const QUIET = 1;
const POP_ONE = 2;
const POP_TWO = 4;

const load: Semantics = (e, op) => {
  if (op.kind(0) !== 'memory') {
    e.helper('x87_load_stack', [stack(e, op, op.count - 1)]);
    return;
  }
  const type = floatType(op);
  fetchOperand(e, op, type);
  e.helper('x87_load_memory', [e.i32(type)]);
};

function loadTyped(typeOf: (op: Operands) => number): Semantics {
  return (e, op) => {
    const type = typeOf(op);
    fetchOperand(e, op, type);
    e.helper('x87_load_memory', [e.i32(type)]);
  };
}

function store(control: number): Semantics {
  return (e, op) => {
    if (op.kind(0) === 'memory') storeOperand(e, op, floatType(op), control);
    else e.helper('x87_store_stack', [op.registerNumber(0), e.i32(control)]);
  };
}

function storeTyped(typeOf: (op: Operands) => number, control: number): Semantics {
  return (e, op) => storeOperand(e, op, typeOf(op), control);
}

function constant(which: number): Semantics {
  return (e) => e.helper('x87_load_constant', [e.i32(which)]);
}

function unary(operation: number): Semantics {
  return (e) => e.helper('x87_unary', [e.i32(operation)]);
}

/** FCMOVcc; `test` gives the condition from the flags. */
function moveIf(test: (e: Emitter) => Value): Semantics {
  return (e, op) => {
    const condition = test(e);
    e.helper('x87_move_if', [condition, op.registerNumber(1)]);
  };
}

function stackControl(what: number): Semantics {
  return (e, op) =>
    e.helper('x87_stack_control', [e.i32(what), op.count > 0 ? op.registerNumber(0) : e.i32(0)]);
}

/** One unit in the last place of a 64-bit significand, which the manual allows. */
export const TRANSCENDENTAL_ULPS = 1;

function transcendental(which: number): Semantics {
  return (e) => e.helper('x87_transcendental', [e.i32(which)]);
}

const not = (e: Emitter, a: Value): Value => e.eqz(a);

export const X87_ARITHMETIC: SemanticsTable = {
  ...x87Table({
    ...arithmetic(),
    Fcom: compareForms(0),
    Fcomp: compareForms(POP_ONE),
    Fcompp: compareForms(POP_TWO),
    Fucom: compareForms(QUIET),
    Fucomp: compareForms(QUIET | POP_ONE),
    Fucompp: compareForms(QUIET | POP_TWO),
    Ficom: compareInteger(0),
    Ficomp: compareInteger(POP_ONE),
    Fcomi: compareToFlags(0),
    Fcomip: compareToFlags(POP_ONE),
    Fucomi: compareToFlags(QUIET),
    Fucomip: compareToFlags(QUIET | POP_ONE),
    Ftst: (e) => e.helper('x87_compare_zero'),
    Fxam: (e) => e.helper('x87_examine'),
    Fld: load,
    Fild: loadTyped(integerType),
    Fbld: loadTyped(() => TYPE_BCD),
    Fst: store(0),
    Fstp: store(STORE_POP),
    Fstpnce: (e, op) => e.helper('x87_store_stack', [op.registerNumber(0), e.i32(STORE_POP), e.i32(1)]),
    Fist: storeTyped(integerType, 0),
    Fistp: storeTyped(integerType, STORE_POP),
    Fisttp: storeTyped(integerType, STORE_POP | STORE_TRUNCATE),
    Fbstp: storeTyped(() => TYPE_BCD, STORE_POP),
    Fld1: constant(0),
    Fldl2t: constant(1),
    Fldl2e: constant(2),
    Fldpi: constant(3),
    Fldlg2: constant(4),
    Fldln2: constant(5),
    Fldz: constant(6),
    Fchs: unary(0),
    Fabs: unary(1),
    Fsqrt: unary(2),
    Frndint: unary(3),
    Fxch: (e, op) => e.helper('x87_exchange', [stack(e, op, 1)]),
    Ffree: stackControl(0),
    Ffreep: stackControl(1),
    Fincstp: stackControl(2),
    Fdecstp: stackControl(3),
    Fnop: stackControl(4),
    Fcmovb: moveIf((e) => e.getFlag('cf')),
    Fcmovnb: moveIf((e) => not(e, e.getFlag('cf'))),
    Fcmove: moveIf((e) => e.getFlag('zf')),
    Fcmovne: moveIf((e) => not(e, e.getFlag('zf'))),
    Fcmovbe: moveIf((e) => e.or(e.getFlag('cf'), e.getFlag('zf'))),
    Fcmovnbe: moveIf((e) => not(e, e.or(e.getFlag('cf'), e.getFlag('zf')))),
    Fcmovu: moveIf((e) => e.getFlag('pf')),
    Fcmovnu: moveIf((e) => not(e, e.getFlag('pf'))),
    Fprem: (e) => e.helper('x87_remainder', [e.i32(0)]),
    Fprem1: (e) => e.helper('x87_remainder', [e.i32(1)]),
    Fscale: (e) => e.helper('x87_scale'),
    Fxtract: (e) => e.helper('x87_extract'),
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
