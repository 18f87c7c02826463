// Routines: functions of generated code that several instructions share, too long to stand in each handler and region. They compute
// on values, the vCPU's state page and, by arena address, what else is the engine's or has been translated; so they neither leave nor
// fault: one that cannot do its work says so in its result, and its caller takes the slow way. Written against the same verbs as
// the instructions.

import type { CodeBody } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import type { Computation, Value, ValueType } from './emitter.js';
import { FlagBuilder } from './flag-builder.js';

export type AtomicVerb = 'load' | 'load16_u' | 'rmw.or' | 'rmw.and' | 'rmw.xchg' | 'rmw.cmpxchg';
type Kind = 'u8' | 'u16' | 'i32' | 'i64' | 'v128';

/** What a routine is written against. */
export interface RoutineEmitter extends Computation {
  /** Reads the state page at `base` (i32, computed) + `offset`. */
  loadAt(base: Value, kind: Kind, offset: number): Value;
  storeAt(base: Value, kind: Kind, offset: number, value: Value): void;
  /** Reads the arena at `address` (i32) + `offset`. */
  loadArena(address: Value, kind: Kind, offset?: number): Value;
  storeArena(address: Value, kind: Kind, offset: number, value: Value): void;
  /** Copies within the arena, i32 addresses and length; the places do not overlap, or `to` is below `from`. */
  copyArena(to: Value, from: Value, bytes: Value): void;
  fillArena(to: Value, byte: Value, bytes: Value): void;
  /** A sequentially consistent access to the arena; gives what was there. */
  atomic(
    verb: AtomicVerb,
    type: 'i32' | 'i64',
    address: Value,
    offset: number,
    operands?: readonly Value[],
  ): Value;
  storeAtomic(kind: 'u16' | 'i32', address: Value, offset: number, value: Value): void;
  /** Sleeps while the i32 at `address` is `expected`, at most `timeoutNs` (i64); 0 woken, 1 not equal, 2 timed out. */
  waitArena(address: Value, expected: Value, timeoutNs: Value): Value;
  /** Wakes all who sleep on the i32 at `address`. */
  notifyArena(address: Value): void;
  /** CF PF AF ZF SF OF as in RFLAGS, other bits zero. */
  readArithmeticFlags(): Value;
  /** Calls a routine that stands before this one in the table. */
  call(name: string, args: readonly Value[]): Value;
  /** Ends the routine with an i32 result. */
  return(result: Value): void;
}

/** One routine: its arguments' types and its body, which gives the i32 result. */
export interface Routine {
  readonly parameters: readonly ValueType[];
  readonly body: (e: RoutineEmitter, args: readonly Value[]) => Value;
}

/** By the name that semantics use. */
export type RoutineTable = Readonly<Record<string, Routine>>;

/** Function indices of the routines that a routine may call. */
type RoutineLookup = (name: string) => number;

function noRoutine(name: string): never {
  throw new Error(`no routine called ${name}`);
}

class RoutineBuilder extends FlagBuilder implements RoutineEmitter {
  readonly #arguments: readonly Value[];
  readonly #lookup: RoutineLookup;

  constructor(parameters: readonly ValueType[], lookup: RoutineLookup) {
    super(new CodeWriter(parameters.length + 1), 0);
    this.#arguments = parameters.map((type, i) => this.fromLocal(i + 1, type));
    this.#lookup = lookup;
  }

  loadAt(base: Value, kind: Kind, offset: number): Value {
    return this.loadArena(this.add(this.cpu, base), kind, offset);
  }

  storeAt(base: Value, kind: Kind, offset: number, value: Value): void {
    this.storeArena(this.add(this.cpu, base), kind, offset, value);
  }

  loadArena(address: Value, kind: Kind, offset = 0): Value {
    this.push(address);
    if (kind === 'u8' || kind === 'u16') {
      this.code.memory(kind === 'u8' ? 'i32.load8_u' : 'i32.load16_u', offset);
      return this.take('i32');
    }
    this.code.memory(`${kind}.load`, offset);
    return this.take(kind);
  }

  storeArena(address: Value, kind: Kind, offset: number, value: Value): void {
    this.push(address);
    this.push(value);
    this.code.memory(kind === 'u8' ? 'i32.store8' : kind === 'u16' ? 'i32.store16' : `${kind}.store`, offset);
  }

  copyArena(to: Value, from: Value, bytes: Value): void {
    this.push(to);
    this.push(from);
    this.push(bytes);
    this.code.memoryCopy();
  }

  fillArena(to: Value, byte: Value, bytes: Value): void {
    this.push(to);
    this.push(byte);
    this.push(bytes);
    this.code.memoryFill();
  }

  atomic(
    verb: AtomicVerb,
    type: 'i32' | 'i64',
    address: Value,
    offset: number,
    operands: readonly Value[] = [],
  ): Value {
    this.push(address);
    for (const operand of operands) this.push(operand);
    this.code.atomic(`${type}.atomic.${verb}`, offset);
    return this.take(type);
  }

  storeAtomic(kind: 'u16' | 'i32', address: Value, offset: number, value: Value): void {
    this.push(address);
    this.push(value);
    this.code.atomic(kind === 'u16' ? 'i32.atomic.store16' : 'i32.atomic.store', offset);
  }

  waitArena(address: Value, expected: Value, timeoutNs: Value): Value {
    this.push(address);
    this.push(expected);
    this.push(timeoutNs);
    this.code.atomic('memory.atomic.wait32', 0);
    return this.take('i32');
  }

  notifyArena(address: Value): void {
    this.push(address);
    this.code.i32Const(-1);
    this.code.atomic('memory.atomic.notify', 0);
    this.take('i32');
  }

  call(name: string, args: readonly Value[]): Value {
    this.push(this.cpu);
    for (const argument of args) this.push(argument);
    this.code.call(this.#lookup(name));
    return this.take('i32');
  }

  return(result: Value): void {
    this.push(result);
    this.code.return();
  }

  build(routine: Routine): CodeBody {
    this.push(routine.body(this, this.#arguments));
    return this.code.finish();
  }
}

/** A routine's function `(cpu: i32, …parameters) → i32`; `lookup` finds those that it calls. */
export function routineBody(routine: Routine, lookup: RoutineLookup = noRoutine): CodeBody {
  return new RoutineBuilder(routine.parameters, lookup).build(routine);
}

/** The parameters of a routine's function. */
export function routineParameters(routine: Routine): readonly ValueType[] {
  return ['i32', ...routine.parameters];
}
