// What the meaning of a handler shape touches: found by running the meaning once against an emitter that watches. The
// compiled tier needs it to know which registers a region must load and write back, and where flags die.

import { GPR, XMM } from '#shared/x86/cpu-state.js';
import type {
  ArithmeticKind,
  FlagName,
  HelperOptions,
  OperandBits,
  SemanticsEntry,
  Value,
} from './emitter.js';
import type { HandlerShape } from './handler-shape.js';
import { type HandlerModule, InterpreterEmitter } from './interpreter-emitter.js';
import { InterpreterOperands } from './interpreter-operands.js';
import { RECORD_INDEX, RECORD_REGISTER0 } from './op-record.js';

export const GPR_BYTES = 128;
export const XMM_BYTES = 256;

export interface ShapeEffects {
  /** Implicit registers as bit masks: bits 0–15 general, 16–31 XMM. */
  readonly used: number;
  readonly written: number;
  /** Record fields that name registers, and whether the register is written. */
  readonly fields: readonly { readonly field: number; readonly written: boolean }[];
  readonly readsFlags: boolean;
  readonly writesFlags: boolean;
  /** Calls a TypeScript helper that may see and change all state. */
  readonly callsHelper: boolean;
}

const MODULE: HandlerModule = {
  slow: { read: 0, write: 1, modifyBegin: 2, modifyEnd: 3 },
  handlerType: 0,
  helper: () => 4,
  routine: () => 5,
  secondWay: 6,
};

/** The bit of a register slot of the state page: general registers 0–15, XMM 16–31; −1 for anything else. */
export function registerBit(offset: number): number {
  if (offset >= GPR && offset < GPR + GPR_BYTES) return offset >> 3;
  if (offset >= XMM && offset < XMM + XMM_BYTES) return 16 + ((offset - XMM) >> 4);
  return -1;
}

class Watcher extends InterpreterEmitter {
  used = 0;
  written = 0;
  readsFlags = false;
  writesFlags = false;
  callsHelper = false;
  readonly fields = new Map<number, boolean>();
  readonly #fieldOf = new Map<Value, number>();
  #quiet = 0;

  override recordU16(offset: number): Value {
    const value = super.recordU16(offset);
    if (offset >= RECORD_REGISTER0 && offset <= RECORD_INDEX) this.#fieldOf.set(value, offset);
    return value;
  }

  #note(offset: Value, written: boolean): void {
    const field = this.#fieldOf.get(offset);
    if (field !== undefined) this.fields.set(field, written || this.fields.get(field) === true);
  }

  override loadStateAt(offset: Value, instruction: string, type: 'i32' | 'i64' | 'v128'): Value {
    this.#note(offset, false);
    return super.loadStateAt(offset, instruction, type);
  }

  override storeStateAt(offset: Value, instruction: string, value: Value): void {
    this.#note(offset, true);
    super.storeStateAt(offset, instruction, value);
  }

  override getState(kind: Parameters<InterpreterEmitter['getState']>[0], offset: number): Value {
    const bit = registerBit(offset);
    if (bit >= 0) this.used |= 1 << bit;
    return super.getState(kind, offset);
  }

  override setState(kind: Parameters<InterpreterEmitter['setState']>[0], offset: number, value: Value): void {
    const bit = registerBit(offset);
    if (bit >= 0) this.written |= 1 << bit;
    super.setState(kind, offset, value);
  }

  override helper(name: string, args: readonly Value[] = [], options: HelperOptions = {}): void {
    if (options.confined !== true) this.callsHelper = true;
    super.helper(name, args, options);
  }

  #inside<T>(work: () => T): T {
    this.#quiet++;
    const result = work();
    this.#quiet--;
    return result;
  }

  override setFlags(kind: ArithmeticKind, bits: OperandBits, a: Value, b: Value, result: Value): void {
    if (this.flagsDead) return;
    this.writesFlags = true;
    if (kind === 'inc' || kind === 'dec') this.readsFlags = true;
    this.#inside(() => super.setFlags(kind, bits, a, b, result));
  }

  override setResultFlags(
    bits: OperandBits,
    result: Value,
    flags?: { cf?: Value; of?: Value; af?: Value },
  ): void {
    if (this.flagsDead) return;
    this.writesFlags = true;
    this.#inside(() => super.setResultFlags(bits, result, flags));
  }

  override writeFlags(flags: Partial<Record<FlagName, Value>>): void {
    if (this.flagsDead) return;
    this.writesFlags = true;
    if (Object.values(flags).filter((flag) => flag !== undefined).length < 6) this.readsFlags = true;
    this.#inside(() => super.writeFlags(flags));
  }

  override writeArithmeticFlags(image: Value): void {
    this.writesFlags = true;
    this.#inside(() => super.writeArithmeticFlags(image));
  }

  override getFlag(flag: FlagName): Value {
    if (this.#quiet === 0) this.readsFlags = true;
    return super.getFlag(flag);
  }

  override condition(cc: number): Value {
    if (this.#quiet === 0) this.readsFlags = true;
    return this.#inside(() => super.condition(cc));
  }
}

/** Runs the meaning of a shape against a watching emitter. Cache the result: it depends on the shape alone. */
export function findEffects(shape: HandlerShape, entry: SemanticsEntry): ShapeEffects {
  const watcher = new Watcher(shape, MODULE);
  entry.sem(watcher, new InterpreterOperands(watcher, shape));
  return {
    used: watcher.used | watcher.written,
    written: watcher.written,
    fields: [...watcher.fields].map(([field, written]) => ({ field, written })),
    readsFlags: watcher.readsFlags || watcher.callsHelper,
    writesFlags: watcher.writesFlags || shape.fusedCondition !== undefined,
    callsHelper: watcher.callsHelper,
  };
}
