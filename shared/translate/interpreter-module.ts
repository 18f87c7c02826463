// Generates the interpreter tier's WebAssembly module: a handler for every shape, in one function table.
// The module imports the arena, the slow memory paths and the TypeScript helpers, and exports `enter`.

import type { CodeBody } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import {
  COUNTED_RECORD,
  COUNT_INTERPRETED,
  EXIT_DROPPED,
  EXIT_EXCEPTION,
  EXIT_HOT,
  EXIT_PENDING,
  RIP,
} from '#shared/x86/cpu-state.js';
import type { SemanticsEntry, SemanticsTable } from './emitter.js';
import { TRAIT_LONG, handlerTraits } from './handler-traits.js';
import { allShapes } from './handler-catalogue.js';
import { type HandlerShape, shapeName } from './handler-shape.js';
import { type HandlerModule, InterpreterEmitter } from './interpreter-emitter.js';
import { InterpreterOperands } from './interpreter-operands.js';
import type { SlowImports } from './memory-builder.js';
import { type RoutineTable, routineBody, routineParameters } from './routine.js';
import {
  REGION_DISPATCH,
  REGION_SECOND_WAY,
  MISS_ROUTINES,
  handlerSlowBody,
  regionSlowBody,
  regionSlowName,
} from './region-slow.js';
import { RECORD_HANDLER, RECORD_IMMEDIATE } from './op-record.js';

/** Handlers that stand for no instruction, at the first places of the table; {@link HANDLER_INVALID} is the very first. */
export const HANDLER_UNDEFINED = 1; // #UD
export const HANDLER_NEXT_BLOCK = 2; // the block ends without a branch
export const HANDLER_STEP_END = 3; // the block ends after a single step: back to the run loop
export const HANDLER_FETCH_FAULT = 4; // the bytes of this instruction could not be fetched
export const HANDLER_HEAT = 5; // counts a block's executions down, then asks for a region
export const HANDLER_PASS = 6; // goes on with the next record
export const HANDLER_COUNT = 7; // counts a block's instructions, RECORD_IMMEDIATE of them
const FIRST_SHAPE = 8;

export interface InterpreterModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Shape names in table order. */
  readonly shapes: readonly string[];
  /** By table index: see handler-traits.ts. */
  readonly traits: readonly number[];
  /** Helper names that the module imports from `helper`. */
  readonly helpers: readonly string[];
}

const MAXIMUM_PAGES = 65536;
/** Helpers' import indices are not known before all handlers are made: calls are emitted with these, then shifted. */
const HELPER_SLOTS = 512;

const PLAIN: Omit<HandlerShape, 'mnemonic'> = {
  operands: [],
  bits: 64,
  far: false,
  address: undefined,
  lock: false,
  repeat: 'none',
  modes: undefined,
  flagsDead: false,
  fusedCondition: undefined,
};

class Internal extends InterpreterEmitter {
  /** Leaves with `exit` at this record's address. */
  leave(exit: number): CodeBody {
    this.syncIp();
    this.code.i32Const(exit);
    return this.code.finish();
  }

  countDown(): CodeBody {
    const left = this.sub(this.recordI32(RECORD_IMMEDIATE), this.i32(1));
    this.push(this.record);
    this.push(left);
    this.code.memory('i32.store', RECORD_IMMEDIATE);
    this.branchOn(this.eqz(left), () => {
      this.syncIp();
      this.returnExit(EXIT_HOT);
    });
    return this.finish();
  }

  count(): CodeBody {
    const counted = this.getState('i64', COUNT_INTERPRETED);
    this.setState('i64', COUNT_INTERPRETED, this.add(counted, this.recordI64(RECORD_IMMEDIATE)));
    this.setState('i32', COUNTED_RECORD, this.record);
    return this.finish();
  }

  /** Goes on at RIP, of 64-bit code, without a look at pending work. */
  resume(): CodeBody {
    this.dispatch(this.getState('i64', RIP));
    this.left = true;
    return this.finish();
  }

  secondWay(): CodeBody {
    this.lookInSecondWay();
    return this.finish();
  }

  undefinedOpcode(): CodeBody {
    this.raise(6);
    this.code.unreachable();
    return this.code.finish();
  }
}

function internalHandlers(module: HandlerModule): { name: string; body: CodeBody }[] {
  const emitter = (name: string): Internal => new Internal({ ...PLAIN, mnemonic: name }, module);
  const next = emitter('next-block');
  next.followNext();
  return [
    { name: 'invalid', body: emitter('invalid').leave(EXIT_DROPPED) },
    { name: 'undefined', body: emitter('undefined').undefinedOpcode() },
    { name: 'next-block', body: next.finish() },
    { name: 'step-end', body: emitter('step-end').leave(EXIT_PENDING) },
    { name: 'fetch-fault', body: emitter('fetch-fault').leave(EXIT_EXCEPTION) },
    { name: 'heat', body: emitter('heat').countDown() },
    { name: 'pass', body: emitter('pass').finish() },
    { name: 'count', body: emitter('count').count() },
  ];
}

function handlerBody(shape: HandlerShape, entry: SemanticsEntry, module: HandlerModule): CodeBody {
  const emitter = new InterpreterEmitter(shape, module);
  entry.sem(emitter, new InterpreterOperands(emitter, shape));
  if (shape.fusedCondition !== undefined) emitter.fusedJump(shape.fusedCondition);
  return emitter.finish();
}

/** What regions leave by: tail-calls the record's handler. The table is this module's alone: each instance that imported it would hold a copy. */
function dispatchBody(handlerType: number): number[] {
  const code = new CodeWriter(2);
  code.get(0);
  code.get(1);
  code.get(0);
  code.memory('i32.load', RECORD_HANDLER);
  code.returnCallIndirect(handlerType);
  return code.finish();
}

/** `enter(record, cpu) → EXIT_`: calls the record's handler. */
function enterBody(handlerType: number): CodeBody {
  const code = new CodeWriter(2);
  code.get(0);
  code.get(1);
  code.get(0);
  code.memory('i32.load', RECORD_HANDLER);
  code.callIndirect(handlerType);
  return code.finish();
}

/** Writes the routines, exported by name for the compiled tier; finds their function indices. */
function writeRoutines(writer: ModuleWriter, routines: RoutineTable): (name: string) => number {
  const indices = new Map<string, number>();
  const find = (name: string): number => {
    const index = indices.get(name);
    if (index === undefined) throw new Error(`no routine called ${name}`);
    return index;
  };
  for (const [name, routine] of Object.entries(routines)) {
    const type = writer.type(routineParameters(routine), ['i32']);
    indices.set(name, writer.function(type, name, routineBody(routine, find), true));
  }
  return find;
}

/** Writes the slow paths that handlers call and, exported, those that regions call. */
function writeSlowPaths(
  writer: ModuleWriter,
  imports: SlowImports,
  routine: (name: string) => number,
): SlowImports {
  const handlerType = writer.type(['i32', 'i32', 'i64', 'i32'], ['i32']);
  const regionType = writer.type(['i32', 'i64', 'i32', 'i32'], ['i32']);
  const write = (path: keyof SlowImports): number => {
    const miss = routine(MISS_ROUTINES[path]);
    writer.function(regionType, regionSlowName(path), regionSlowBody(imports[path], miss), true);
    return writer.function(handlerType, `handler-${path}`, handlerSlowBody(imports[path], miss));
  };
  return {
    read: write('read'),
    write: write('write'),
    modifyBegin: write('modifyBegin'),
    modifyEnd: write('modifyEnd'),
  };
}

function writeSecondWay(writer: ModuleWriter, parts: Omit<HandlerModule, 'secondWay'>): number {
  const emitter = new Internal({ ...PLAIN, mnemonic: REGION_SECOND_WAY }, { ...parts, secondWay: -1 });
  return writer.function(parts.handlerType, REGION_SECOND_WAY, emitter.secondWay(), true);
}

/** Generates the module for all shapes of `table`. Takes about a second: done when the package is built. */
export function buildInterpreterModule(table: SemanticsTable, routines: RoutineTable): InterpreterModule {
  const writer = new ModuleWriter({ initial: 1, maximum: MAXIMUM_PAGES });
  const handlerType = writer.type(['i32', 'i32'], ['i32']);
  const helperType = writer.type(['i32', 'i32', 'i32', 'i32'], ['i32']);
  const slowImports = {
    read: writer.importFunction('slow', 'read', handlerType),
    write: writer.importFunction('slow', 'write', handlerType),
    modifyBegin: writer.importFunction('slow', 'modifyBegin', handlerType),
    modifyEnd: writer.importFunction('slow', 'modifyEnd', handlerType),
  };
  const helpers: string[] = [];
  for (let i = 0; i < HELPER_SLOTS; i++) writer.importFunction('helper', String(i), helperType);
  const routine = writeRoutines(writer, routines);
  const parts: Omit<HandlerModule, 'secondWay'> = {
    slow: writeSlowPaths(writer, slowImports, routine),
    handlerType,
    routine,
    helper: (name) => {
      let index = helpers.indexOf(name);
      if (index < 0) index = helpers.push(name) - 1;
      if (index >= HELPER_SLOTS) throw new Error('more helpers than HELPER_SLOTS');
      return 4 + index;
    },
  };
  const module: HandlerModule = { ...parts, secondWay: writeSecondWay(writer, parts) };
  const functions = internalHandlers(module).map(({ name, body }) =>
    writer.function(handlerType, name, body),
  );
  const shapes: string[] = [];
  const traits: number[] = functions.map(() => 0);
  traits[HANDLER_COUNT] = TRAIT_LONG;
  const seen = new Set<string>();
  for (const { shape, entry } of allShapes(table)) {
    const name = shapeName(shape);
    if (seen.has(name)) continue;
    seen.add(name);
    let body: CodeBody;
    try {
      body = handlerBody(shape, entry, module);
    } catch (cause) {
      throw new Error(`cannot build the handler ${name}`, { cause });
    }
    shapes.push(name);
    traits.push(handlerTraits(shape, entry));
    functions.push(writer.function(handlerType, name, body));
  }
  writer.function(handlerType, 'enter', enterBody(handlerType), true);
  const resume = new Internal({ ...PLAIN, mnemonic: 'resume' }, module);
  writer.function(handlerType, 'resume', resume.resume(), true);
  writer.function(handlerType, REGION_DISPATCH, dispatchBody(handlerType), true);
  return { bytes: writer.finish(functions), shapes, helpers, traits };
}

/** Table index of the i-th shape. */
export const shapeIndex = (i: number): number => FIRST_SHAPE + i;
