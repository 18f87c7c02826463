// Routines: functions of generated code that several instructions share, too long to stand in each handler and region. They compute
// on values and the vCPU's state page alone, so they neither leave nor fault: one that cannot do its work says so in its
// result, and its caller takes the slow way. Written against the same verbs as the instructions.

import type { CodeBody } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import type { Computation, Value, ValueType } from './emitter.js';
import { FlagBuilder } from './flag-builder.js';

/** What a routine is written against. */
export interface RoutineEmitter extends Computation {
  /** Reads the state page at `base` (i32, computed) + `offset`. */
  loadAt(base: Value, kind: 'u8' | 'u16' | 'i32' | 'i64' | 'v128', offset: number): Value;
  storeAt(base: Value, kind: 'u8' | 'u16' | 'i32' | 'i64' | 'v128', offset: number, value: Value): void;
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

class RoutineBuilder extends FlagBuilder implements RoutineEmitter {
  readonly #arguments: readonly Value[];

  constructor(parameters: readonly ValueType[]) {
    super(new CodeWriter(parameters.length + 1), 0);
    this.#arguments = parameters.map((type, i) => this.fromLocal(i + 1, type));
  }

  loadAt(base: Value, kind: 'u8' | 'u16' | 'i32' | 'i64' | 'v128', offset: number): Value {
    this.push(this.add(this.cpu, base));
    if (kind === 'u8' || kind === 'u16') {
      this.code.memory(kind === 'u8' ? 'i32.load8_u' : 'i32.load16_u', offset);
      return this.take('i32');
    }
    this.code.memory(`${kind}.load`, offset);
    return this.take(kind);
  }

  storeAt(base: Value, kind: 'u8' | 'u16' | 'i32' | 'i64' | 'v128', offset: number, value: Value): void {
    this.push(this.add(this.cpu, base));
    this.push(value);
    this.code.memory(kind === 'u8' ? 'i32.store8' : kind === 'u16' ? 'i32.store16' : `${kind}.store`, offset);
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

/** A routine's function `(cpu: i32, …parameters) → i32`. */
export function routineBody(routine: Routine): CodeBody {
  return new RoutineBuilder(routine.parameters).build(routine);
}

/** The parameters of a routine's function. */
export function routineParameters(routine: Routine): readonly ValueType[] {
  return ['i32', ...routine.parameters];
}
