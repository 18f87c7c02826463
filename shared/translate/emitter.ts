// What an instruction's meaning is written against: a small, typed builder of straight-line code with structured
// control flow. semantics/*.ts describe every instruction once in these verbs; the interpreter tier turns them
// into a handler per operand shape, the compiled tier into code with constants folded and registers in locals.
//
// Conventions
// - Values of 8, 16 and 32-bit operands are i32, of 64-bit operands i64, of vectors v128. `read` zero-extends to
//   the type; immediates are sign-extended to the operand size. A result may carry garbage above its operand size:
//   `write`, `modify` and the flag verbs truncate.
// - Faults are precise: do every memory access and every check before the first register or flag write. `modify`
//   on memory probes for write before it reads. Memory writes come before register writes.
// - An emitter's callbacks may be emitted more than once (LOCK loops): they must be pure.

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** A computed value; opaque outside an emitter. May be used any number of times. */
export interface Value {
  readonly type: ValueType;
}

/** A mutable local of generated code. */
export interface Variable {
  readonly type: ValueType;
  get(): Value;
  set(value: Value): void;
}

/** A place that `branch` can go to. */
export interface Label {
  readonly depth: number;
}

export type OperandBits = 8 | 16 | 32 | 64 | 128;
export type FlagName = 'cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of';
/** How a plain arithmetic result sets the six flags. 'add' and 'sub' serve ADC, SBB, CMP and NEG too (the result tells the carry in). */
export type ArithmeticKind = 'add' | 'sub' | 'logic' | 'inc' | 'dec';

export interface HelperOptions {
  readonly ends?: boolean;
  readonly confined?: boolean;
}

/** The part of an {@link Emitter} that computes on values and the state page; routines (routine.ts) are written in it alone. */
export interface Computation {
  i32(value: number): Value;
  i64(value: bigint | number): Value;
  /** Any WebAssembly operator by its name in the specification ('i32.add', 'f64.sqrt', 'i8x16.shuffle'…); `immediates` are lane indices, shuffle lanes or a v128 constant's bytes. */
  op(name: string, operands: readonly Value[], immediates?: readonly number[]): Value;

  // Integer operators, chosen by the operands' type (i32 or i64; both operands alike).
  add(a: Value, b: Value): Value;
  sub(a: Value, b: Value): Value;
  mul(a: Value, b: Value): Value;
  and(a: Value, b: Value): Value;
  or(a: Value, b: Value): Value;
  xor(a: Value, b: Value): Value;
  shl(a: Value, count: Value): Value;
  shrU(a: Value, count: Value): Value;
  shrS(a: Value, count: Value): Value;
  rotl(a: Value, count: Value): Value;
  rotr(a: Value, count: Value): Value;
  clz(a: Value): Value;
  ctz(a: Value): Value;
  popcnt(a: Value): Value;
  /** Comparisons give an i32 0 or 1. */
  eqz(a: Value): Value;
  eq(a: Value, b: Value): Value;
  ne(a: Value, b: Value): Value;
  ltU(a: Value, b: Value): Value;
  ltS(a: Value, b: Value): Value;
  leU(a: Value, b: Value): Value;
  leS(a: Value, b: Value): Value;
  gtU(a: Value, b: Value): Value;
  gtS(a: Value, b: Value): Value;
  geU(a: Value, b: Value): Value;
  geS(a: Value, b: Value): Value;
  /** `condition ? a : b`, both evaluated. */
  select(condition: Value, a: Value, b: Value): Value;
  /** i64 → i32. */
  wrap(a: Value): Value;
  /** i32 → i64. */
  extendU(a: Value): Value;
  extendS(a: Value): Value;
  /** Keeps the low `bits` bits, zeros above; the type stays. */
  zeroExtend(a: Value, bits: number): Value;
  /** Copies bit `bits`−1 upwards; the type stays. */
  signExtend(a: Value, bits: number): Value;
  /** An integer that is known while the code is written (a constant, or an operand of an instruction that the tier knows), zero-extended; meanings may then be shorter. */
  known(value: Value): number | undefined;
  /** An integer constant of the type that operands of `bits` have. */
  constant(bits: OperandBits, value: bigint | number): Value;
  /** Converts i32 ↔ i64 (zero-extending or wrapping) to the type that operands of `bits` have. */
  toBits(a: Value, bits: OperandBits): Value;

  // Structured control flow.
  if(condition: Value, then: () => void, otherwise?: () => void): void;
  ifValue(condition: Value, type: ValueType, then: () => Value, otherwise: () => Value): Value;
  /** As `if`, for what hardly ever happens: `then` neither reads nor writes arithmetic flags. */
  ifRare(condition: Value, then: () => void): void;
  /** As `ifValue`, where `rare` hardly ever happens and neither arm reads or writes arithmetic flags. */
  unlessRare(condition: Value, type: ValueType, usual: () => Value, rare: () => Value): Value;
  block(body: (end: Label) => void): void;
  loop(body: (again: Label) => void): void;
  branch(label: Label): void;
  branchIf(label: Label, condition: Value): void;
  variable(initial: Value): Variable;

  // The vCPU's state page (offsets of cpu-state.ts).
  getState(kind: 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128', offset: number): Value;
  setState(kind: 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128', offset: number, value: Value): void;
}

/** One handler's or instruction's code. */
export interface Emitter extends Computation {
  /** An implicit general register by encoding number (0 = RAX … 15 = R15), `bits` wide, low part. */
  readGpr(index: number, bits: OperandBits): Value;
  /** 32-bit writes clear the upper half; 8 and 16-bit writes keep the rest. */
  writeGpr(index: number, bits: OperandBits, value: Value): void;

  // Flags.
  setFlags(kind: ArithmeticKind, bits: OperandBits, a: Value, b: Value, result: Value): void;
  /** SF, ZF and PF from `result`; CF, OF and AF as given (i32 0 or 1; absent = 0). */
  setResultFlags(bits: OperandBits, result: Value, flags?: { cf?: Value; of?: Value; af?: Value }): void;
  /** Writes only the named flags (i32 0 or 1), keeps the others. */
  writeFlags(flags: Partial<Record<FlagName, Value>>): void;
  /** i32 0 or 1. */
  getFlag(flag: FlagName): Value;
  /** The condition `cc` (0–15, as encoded in Jcc) as i32 0 or 1. */
  condition(cc: number): Value;
  /** CF PF AF ZF SF OF as in RFLAGS, other bits zero. */
  readArithmeticFlags(): Value;
  /** Sets all six from an RFLAGS image. */
  writeArithmeticFlags(image: Value): void;

  // Memory by linear address, through the TLB; faults leave the handler.
  /**
   * Linear address (i64) of `offset` (i64, already wrapped to the address size) in segment register `segment`, with limit and type checks where the mode has them.
   * A `Value` is a segment register number (i32) that only the record knows: `Operands.segment()` of strings, XLAT and POP to memory.
   */
  linear(segment: number | Value, offset: Value, bytes: number, access: 'read' | 'write'): Value;
  /** 1, 2, 4 → i32 (zero-extended), 8 → i64, 16 → v128; 4 and 8 → f32 and f64 with `float`. */
  load(linear: Value, bytes: number, float?: boolean): Value;
  store(linear: Value, bytes: number, value: Value): void;
  /** Read-modify-write at a linear address, as {@link Operands.modify}: probes for write first, atomic under LOCK. */
  modifyAt(linear: Value, bytes: number, change: (old: Value) => Value): { old: Value; value: Value };
  /** Pushes onto the stack (mode's stack width): store, then RSP. `bits` is the operand size. */
  push(value: Value, bits: OperandBits): void;
  /** Pops: loads and returns the value; RSP is written by `commit`, after whatever may fault. */
  pop(bits: OperandBits): { value: Value; commit(): void };

  // Leaving the straight line.
  /** Raises a fault (IP at this instruction) and leaves. */
  raise(vector: number, errorCode?: number): void;
  /**
   * Emits `check`, which raises a fault by state that only block-ending instructions and helpers (unless confined) change. A tier may leave it out where
   * the check of that name was made before. Not inside a branch.
   */
  checkOnce(name: string, check: () => void): void;
  /** i64: this instruction's address, wrapped to the mode's IP size. */
  instructionIp(): Value;
  /** i64: the address of the following instruction, wrapped to the mode's IP size. */
  nextIp(): Value;
  /** i64: the near branch operand's target, as wide as the branch is. */
  directTarget(): Value;
  /** To the near branch operand's target. */
  jumpDirect(): void;
  /** To the near branch operand's target when `condition`, else to the next instruction. */
  jumpDirectIf(condition: Value): void;
  /** To an IP (i64; truncated to `bits`); checks canonicality and CS limit. */
  jumpIndirect(target: Value, bits: OperandBits): void;
  /**
   * Calls the TypeScript helper `name` (actors/vcpu/engine-wasm/helpers) with up to three i32 arguments. RIP and all state
   * are architectural in the state page when it runs. A helper that returns non-zero makes the handler leave with that EXIT_ value.
   * `ends`: the helper always leaves (far transfers); the instruction then ends its block. `confined`: it changes nothing but MXCSR, the x87 state and
   * the page's scratch places, and reads nothing else but RIP and control registers.
   */
  helper(name: string, args?: readonly Value[], options?: HelperOptions): void;
  /** Calls a routine (routine.ts) by name; gives its i32 result. */
  routine(name: string, args: readonly Value[]): Value;
  /** Ends the block after this instruction (CPU mode or code may have changed) and polls pending work. */
  endBlock(): void;
}

/** The instruction's operands as the shape of its form says. */
export interface Operands {
  /** iced-x86's mnemonic name, e.g. 'Add'. */
  readonly mnemonic: string;
  readonly count: number;
  /**
   * The operand size: that of operand 0, or for instructions without one the form's (16, 32, 64). The form's too where operand 0 does not tell:
   * near and far CALL/JMP/RET, ENTER, IRET, PUSH of an immediate or segment register, POP of one (bytes that RSP moves by), LGDT LIDT SGDT SIDT.
   */
  readonly bits: OperandBits;
  /** 16, 32 or 64: the code segment's mode. Only for entries that say `modeSensitive`. */
  readonly mode: 16 | 32 | 64;
  /** 16, 32 or 64. For string instructions and others without an explicit memory operand. Only if `modeSensitive`. */
  readonly addressBits: 16 | 32 | 64;
  /** 16, 32 or 64. Only if `modeSensitive`. */
  readonly stackBits: 16 | 32 | 64;
  /** LOCK prefix, or XCHG with memory. */
  readonly lock: boolean;
  readonly repeat: 'none' | 'rep' | 'repne';
  /** A far JMP, CALL: ptr16:16/32 (kind 'branch': `read` gives an i64, offset in bits 0–31, selector in bits 32–47) or m16:16/32/64. */
  readonly far: boolean;
  kind(
    index: number,
  ): 'gpr' | 'memory' | 'immediate' | 'xmm' | 'mmx' | 'st' | 'segment' | 'control' | 'debug' | 'branch';
  bitsOf(index: number): OperandBits;
  /** `displacement` (i64, bytes) is added to a memory operand's effective address before it wraps: bit strings, pairs. */
  read(index: number, displacement?: Value): Value;
  /** Scalar read of the low `bits` of an operand (vector registers: the low lane; memory: just those bytes). i32, or i64 for 64. */
  readLow(index: number, bits: 8 | 16 | 32 | 64): Value;
  /** As `readLow`, as a floating-point number: f32 or f64. */
  readScalar(index: number, bits: 32 | 64): Value;
  /** As `writeLow`, of an f32 or f64. */
  writeScalar(index: number, bits: 32 | 64, value: Value): void;
  write(index: number, value: Value): void;
  /** Vector registers: replaces the low `bits`, keeps the rest; memory: stores just those bytes. */
  writeLow(index: number, bits: 8 | 16 | 32 | 64, value: Value): void;
  /** Read-modify-write, atomic under LOCK. Gives the old and the new value. */
  modify(index: number, change: (old: Value) => Value, displacement?: Value): { old: Value; value: Value };
  /** i64 offset of a memory operand within its segment, wrapped to the address size (LEA). */
  effectiveAddress(index: number): Value;
  /** i64 linear address of a memory operand, checked for `bytes`. */
  linearAddress(index: number, bytes: number, access: 'read' | 'write'): Value;
  /** i32: a register operand's number as it stands in the record (ST(i), segment, CR, DR numbers). */
  registerNumber(index: number): Value;
  /** The memory operand's segment register number (i32), for string instructions' source. */
  segment(): Value;
}

export type Semantics = (e: Emitter, op: Operands) => void;

/** One mnemonic's row in the semantics tables. */
export interface SemanticsEntry {
  readonly sem: Semantics;
  /** RFLAGS bits that the manual leaves undefined after it: a mask for comparisons with the host, never for the meaning. */
  readonly undefinedFlags?: number;
  /** Shifts and rotations: RFLAGS bits that are undefined unless the masked count is 1. (Intel processors agree with the meanings here all the same.) */
  readonly undefinedUnlessOne?: number;
  /** The meaning depends on mode, address size or stack size: handlers are made for each. */
  readonly modeSensitive?: boolean;
  /** Writes all six arithmetic flags without reading one and without a trap after the write: earlier flag results are dead. */
  readonly overwritesFlags?: boolean;
  /** Ends a basic block. */
  readonly endsBlock?: boolean;
  /** Floating-point results may differ from the host's by this many units in the last place (approximations, transcendental functions). */
  readonly tolerance?: number;
  /** Not compared with the host CPU (privileged, time, randomness): says why. */
  readonly notOnHost?: string;
}

/** By iced-x86 mnemonic name. */
export type SemanticsTable = Readonly<Record<string, SemanticsEntry>>;
