// MOVS STOS LODS SCAS CMPS INS OUTS with REP, REPE, REPNE. Intel SDM vol. 1 §7.3.9, vol. 2. Registers are written
// after every element, so a fault leaves the instruction restartable. A repetition does at most STRIDE elements here
// and then leaves with RIP unchanged, so that pending work is seen; long forward MOVS and STOS are done page by page
// by helpers on whole runs of bytes. Single step traps after the instruction, not after each element.
import type { Emitter, Operands, SemanticsEntry, SemanticsTable, Value } from '#shared/translate/emitter.js';
import { ES, RFLAGS_SYSTEM } from '#shared/x86/cpu-state.js';
import { DF } from '#shared/x86/rflags.js';

const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
const STRIDE = 64;
/** Repetitions up to this many elements are cheaper inline than by a helper. */
const INLINE_ELEMENTS = 16;

type ElementBytes = 1 | 2 | 4 | 8;

/** The address in RSI or RDI as an i64 of the address size. */
function pointer(e: Emitter, op: Operands, register: number): Value {
  return e.toBits(e.readGpr(register, op.addressBits), 64);
}

function sourceAddress(e: Emitter, op: Operands, bytes: number): Value {
  return e.linear(op.segment(), pointer(e, op, RSI), bytes, 'read');
}

function destinationAddress(e: Emitter, op: Operands, bytes: number, access: 'read' | 'write'): Value {
  return e.linear(ES, pointer(e, op, RDI), bytes, access);
}

function advance(e: Emitter, op: Operands, register: number, step: Value): void {
  e.writeGpr(register, op.addressBits, e.add(e.readGpr(register, op.addressBits), step));
}

/** ±bytes by DF, of the address size's type. */
function elementStep(e: Emitter, op: Operands, bytes: number): Value {
  const down = e.and(e.getState('i32', RFLAGS_SYSTEM), e.i32(DF));
  const bits = op.addressBits;
  return e.select(down, e.constant(bits, -bytes), e.constant(bits, bytes));
}

/**
 * In 64-bit code with 32-bit addresses a repetition clears the upper half of RCX, and the fast ones that of their pointers,
 * even when RCX is zero or the first element faults. The manual leaves it open; processors do it.
 */
function clearUpperHalves(e: Emitter, op: Operands, pointers: readonly number[]): void {
  if (op.repeat === 'none' || op.mode !== 64 || op.addressBits !== 32) return;
  for (const register of [RCX, ...pointers]) e.writeGpr(register, 32, e.readGpr(register, 32));
}

/** One element; gives the condition (i32) to go on, if the instruction has one. */
type Element = (step: Value) => Value | undefined;

/** Runs `element` once, or RCX times in strides. */
function repeat(e: Emitter, op: Operands, bytes: number, element: Element): void {
  const step = elementStep(e, op, bytes);
  if (op.repeat === 'none') {
    element(step);
    return;
  }
  const bits = op.addressBits;
  const one = e.constant(bits, 1);
  const isZero = (): Value => e.eqz(e.zeroExtend(e.readGpr(RCX, bits), bits));
  const left = e.variable(e.i32(STRIDE));
  e.block((end) => {
    e.loop((again) => {
      e.branchIf(end, isZero());
      const goOn = element(step);
      e.writeGpr(RCX, bits, e.sub(e.readGpr(RCX, bits), one));
      if (goOn) e.branchIf(end, e.eqz(goOn));
      left.set(e.sub(left.get(), e.i32(1)));
      e.branchIf(again, left.get());
    });
    // A stride is done: leave with RIP at this instruction, to poll pending work.
    e.if(e.eqz(isZero()), () => e.helper('repeatString'));
  });
}

interface Bulk {
  readonly pointers: readonly number[];
  /** Calls the routine for plain memory (routines/string-run.ts) with RCX and log2 of the element's bytes: elements done. */
  readonly run: (count: Value, shift: Value) => Value;
  readonly helper: string;
  readonly args: readonly Value[];
}

/** REP MOVS and REP STOS: long forward runs by a routine, and by a helper what that leaves. */
function bulk(e: Emitter, op: Operands, bytes: ElementBytes, { pointers, run, helper, args }: Bulk): void {
  if (op.repeat === 'none') return;
  const forward = e.eqz(e.and(e.getState('i32', RFLAGS_SYSTEM), e.i32(DF)));
  const isLong = (): Value => e.gtU(e.toBits(e.readGpr(RCX, op.addressBits), 64), e.i64(INLINE_ELEMENTS));
  e.if(e.and(forward, isLong()), () => {
    if (op.mode === 64 && op.addressBits === 64) {
      const done = e.extendU(run(e.readGpr(RCX, 64), e.i32(Math.log2(bytes))));
      for (const register of pointers) advance(e, op, register, e.mul(done, e.i64(bytes)));
      e.writeGpr(RCX, 64, e.sub(e.readGpr(RCX, 64), done));
    }
    e.if(isLong(), () => e.helper(helper, args));
  });
}

function movs(bytes: ElementBytes) {
  return (e: Emitter, op: Operands): void => {
    const shape = e.i32(bytes | (op.addressBits << 8));
    clearUpperHalves(e, op, [RSI, RDI]);
    bulk(e, op, bytes, {
      pointers: [RSI, RDI],
      run: (count, shift) => {
        const source = sourceAddress(e, op, bytes);
        const destination = destinationAddress(e, op, bytes, 'write');
        return e.routine('moveRun', [source, destination, count, shift]);
      },
      helper: 'repMovs',
      args: [shape, op.segment()],
    });
    repeat(e, op, bytes, (step) => {
      const value = e.load(sourceAddress(e, op, bytes), bytes);
      e.store(destinationAddress(e, op, bytes, 'write'), bytes, value);
      advance(e, op, RSI, step);
      advance(e, op, RDI, step);
      return undefined;
    });
  };
}

function stos(bytes: ElementBytes) {
  return (e: Emitter, op: Operands): void => {
    clearUpperHalves(e, op, [RDI]);
    const value = e.readGpr(RAX, (bytes * 8) as 8 | 16 | 32 | 64);
    bulk(e, op, bytes, {
      pointers: [RDI],
      run: (count, shift) => {
        const destination = destinationAddress(e, op, bytes, 'write');
        return e.routine('fillRun', [destination, count, e.toBits(value, 64), shift]);
      },
      helper: 'repStos',
      args: [e.i32(bytes | (op.addressBits << 8))],
    });
    repeat(e, op, bytes, (step) => {
      e.store(destinationAddress(e, op, bytes, 'write'), bytes, value);
      advance(e, op, RDI, step);
      return undefined;
    });
  };
}

function lods(bytes: ElementBytes) {
  return (e: Emitter, op: Operands): void => {
    clearUpperHalves(e, op, []);
    repeat(e, op, bytes, (step) => {
      e.writeGpr(RAX, (bytes * 8) as 8 | 16 | 32 | 64, e.load(sourceAddress(e, op, bytes), bytes));
      advance(e, op, RSI, step);
      return undefined;
    });
  };
}

/** SCAS and CMPS: compares pairs; flags are written once, from the last pair, as a fault in between keeps the old ones. */
function compare(
  bytes: ElementBytes,
  readPair: (e: Emitter, op: Operands) => { a: Value; b: Value },
  pointers: readonly number[],
) {
  const bits = (bytes * 8) as 8 | 16 | 32 | 64;
  return (e: Emitter, op: Operands): void => {
    if (op.repeat === 'none') {
      const { a, b } = readPair(e, op);
      for (const register of pointers) advance(e, op, register, elementStep(e, op, bytes));
      e.setFlags('sub', bits, a, b, e.sub(a, b));
      return;
    }
    clearUpperHalves(e, op, []);
    const lastA = e.variable(e.constant(bits, 0));
    const lastB = e.variable(e.constant(bits, 0));
    const count = e.readGpr(RCX, op.addressBits);
    const step = elementStep(e, op, bytes);
    const left = e.variable(e.i32(STRIDE));
    const more = e.variable(e.i32(0));
    e.if(e.ne(count, e.constant(op.addressBits, 0)), () => {
      e.loop((again) => {
        const { a, b } = readPair(e, op);
        for (const register of pointers) advance(e, op, register, step);
        const rest = e.sub(e.readGpr(RCX, op.addressBits), e.constant(op.addressBits, 1));
        e.writeGpr(RCX, op.addressBits, rest);
        lastA.set(a);
        lastB.set(b);
        const matches = op.repeat === 'rep' ? e.eq(a, b) : e.ne(a, b);
        const remains = e.ne(e.zeroExtend(rest, op.addressBits), e.constant(op.addressBits, 0));
        more.set(e.and(matches, remains));
        left.set(e.sub(left.get(), e.i32(1)));
        e.branchIf(again, e.and(more.get(), e.ne(left.get(), e.i32(0))));
      });
      // A later fault must find the flags of before the instruction: they are written at its end only.
      e.if(more.get(), () => e.helper('repeatString'));
      const a = lastA.get();
      const b = lastB.get();
      e.setFlags('sub', bits, a, b, e.sub(a, b));
    });
  };
}

function scas(bytes: ElementBytes) {
  const bits = (bytes * 8) as 8 | 16 | 32 | 64;
  const readPair = (e: Emitter, op: Operands): { a: Value; b: Value } => ({
    a: e.readGpr(RAX, bits),
    b: e.load(destinationAddress(e, op, bytes, 'read'), bytes),
  });
  return compare(bytes, readPair, [RDI]);
}

function cmps(bytes: ElementBytes) {
  // The destination first, as processors do: it shows when both fault.
  const readPair = (e: Emitter, op: Operands): { a: Value; b: Value } => {
    const b = e.load(destinationAddress(e, op, bytes, 'read'), bytes);
    return { a: e.load(sourceAddress(e, op, bytes), bytes), b };
  };
  return compare(bytes, readPair, [RSI, RDI]);
}

/** INS and OUTS: permission, memory and port are the helper's; it does a bounded number of elements. */
function portString(helper: string, bytes: ElementBytes) {
  return (e: Emitter, op: Operands): void => {
    const shape = bytes | (op.addressBits << 8) | (op.repeat === 'none' ? 0 : 1 << 16);
    e.helper(helper, [e.i32(shape), op.segment()]);
  };
}

const table: Record<string, SemanticsEntry> = {};
for (const [suffix, bytes] of [
  ['b', 1],
  ['w', 2],
  ['d', 4],
  ['q', 8],
] as const) {
  // iced-x86 gives MOVSD and CMPSD the mnemonics of SSE2's: instruction-form.ts prefixes the string ones.
  const prefix = suffix === 'd' ? 'String' : '';
  table[`${prefix}Movs${suffix}`] = { sem: movs(bytes), modeSensitive: true };
  table[`Stos${suffix}`] = { sem: stos(bytes), modeSensitive: true };
  table[`Lods${suffix}`] = { sem: lods(bytes), modeSensitive: true };
  table[`Scas${suffix}`] = { sem: scas(bytes), modeSensitive: true };
  table[`${prefix}Cmps${suffix}`] = { sem: cmps(bytes), modeSensitive: true };
  if (bytes < 8) {
    const notOnHost = 'reaches a port';
    table[`Ins${suffix}`] = { sem: portString('stringIn', bytes), modeSensitive: true, notOnHost };
    table[`Outs${suffix}`] = { sem: portString('stringOut', bytes), modeSensitive: true, notOnHost };
  }
}

export const stringSemantics: SemanticsTable = table;
