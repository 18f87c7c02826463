// Guest memory from generated code: the inlined TLB lookup, its slow paths, read-modify-write and LOCK, segment
// arithmetic and the stack. A slow path is a call out to TypeScript that returns an EXIT_ value: not zero means
// that the access faulted, and the code leaves with it.

import type { CodeSink } from '#shared/wasm/code-sink.js';
import {
  CR0,
  EXCEPTION_ERROR_CODE,
  EXCEPTION_VECTOR,
  EXIT_EXCEPTION,
  HELPER_ARG0,
  SEGMENT,
  SEGMENT_BASE,
  SEGMENT_HIGH,
  SEGMENT_LOW,
  SLOW_DATA,
  SS,
  TLB_BASE,
} from '#shared/x86/cpu-state.js';
import type { OperandBits, Value, ValueType } from './emitter.js';
import { FlagBuilder } from './flag-builder.js';
import {
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_ENTRY_BYTES,
  JUMP_CACHE_HASH_SHIFT,
  JUMP_CACHE_MULTIPLIER,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from './op-record.js';

/** Function indices of the slow paths that generated code calls (region-slow.ts); they give an EXIT_ value. */
export interface SlowImports {
  /** Reads `bytes` at a linear address into SLOW_DATA. */
  readonly read: number;
  /** Writes `bytes` of SLOW_DATA at a linear address. */
  readonly write: number;
  /** Makes a linear address writable and leaves the arena offset to work on (or a bounce buffer's) in HELPER_ARG0. The second argument is bytes | lock << 8. */
  readonly modifyBegin: number;
  /** Ends what modifyBegin began: commits a bounce buffer, tells a write to a code page. */
  readonly modifyEnd: number;
}

const LOAD: Readonly<Record<number, string>> = {
  1: 'i32.load8_u',
  2: 'i32.load16_u',
  4: 'i32.load',
  8: 'i64.load',
  16: 'v128.load',
};
const STORE: Readonly<Record<number, string>> = {
  1: 'i32.store8',
  2: 'i32.store16',
  4: 'i32.store',
  8: 'i64.store',
  16: 'v128.store',
};
const CMPXCHG: Readonly<Record<number, string>> = {
  1: 'i32.atomic.rmw8.cmpxchg_u',
  2: 'i32.atomic.rmw16.cmpxchg_u',
  4: 'i32.atomic.rmw.cmpxchg',
  8: 'i64.atomic.rmw.cmpxchg',
};

/** How code legacy to this mode sees segments: 64-bit code has bases for FS and GS alone. */
export type SegmentModel = 'long' | 'legacy';

export abstract class MemoryBuilder extends FlagBuilder {
  protected record: Value;
  protected abstract segmentModel: SegmentModel;
  protected abstract stackBits: 16 | 32 | 64;
  protected readonly slow: SlowImports;

  constructor(code: CodeSink, slow: SlowImports) {
    super(code);
    this.record = this.fromLocal(0, 'i32');
    this.slow = slow;
  }

  /** Makes RIP architectural (this instruction's address). */
  protected abstract syncIp(): void;

  /** Emitted after a slow write: it may have hit code that runs. */
  protected afterSlowWrite(): void {}

  raise(vector: number, errorCode?: number): void {
    this.syncIp();
    this.setState('i32', EXCEPTION_VECTOR, this.i32(vector));
    this.setState('i32', EXCEPTION_ERROR_CODE, this.i32(errorCode ?? -1));
    this.returnExit(EXIT_EXCEPTION);
  }

  /** Leaves with an EXIT_ value, RIP set. */
  protected abstract returnExit(exit: number): void;

  /** Calls a slow path and leaves when it says so. */
  protected callSlow(path: keyof SlowImports, linear: Value, argument: number): void {
    this.push(this.cpu);
    this.push(this.record);
    this.push(linear);
    this.code.i32Const(argument);
    this.code.call(this.slow[path]);
    this.leaveIfNotZero();
  }

  /** Takes an EXIT_ value from the stack and returns it unless it is zero. */
  protected leaveIfNotZero(): void {
    const status = this.take('i32');
    this.branchOn(status, () => {
      this.push(status);
      this.code.return();
    });
  }

  /** Distance of an IP's entry from the start of the jump cache. */
  protected jumpCacheOffset(ip: Value): Value {
    const product = this.mul(this.wrap(ip), this.i32(JUMP_CACHE_MULTIPLIER));
    const mask = (JUMP_CACHE_ENTRIES - 1) * JUMP_CACHE_ENTRY_BYTES;
    return this.and(
      this.shrU(product, this.i32(JUMP_CACHE_HASH_SHIFT - Math.log2(JUMP_CACHE_ENTRY_BYTES))),
      this.i32(mask),
    );
  }

  /** The TLB entry for a linear address. */
  #entry(linear: Value): Value {
    const index = this.and(this.wrap(this.shrU(linear, this.i64(7))), this.i32((TLB_ENTRIES - 1) << 5));
    return this.add(index, this.getState('i32', TLB_BASE));
  }

  /** i32: the access lies in the entry's page and is permitted. */
  #hits(linear: Value, entry: Value, tag: number, bytes: number): Value {
    const page = this.and(bytes === 1 ? linear : this.add(linear, this.i64(bytes - 1)), this.i64(-4096));
    this.push(entry);
    this.code.memory('i64.load', tag);
    return this.eq(page, this.take('i64'));
  }

  #arenaAddress(linear: Value, entry: Value): Value {
    this.push(entry);
    this.code.memory('i32.load', TLB_ADDEND);
    return this.add(this.wrap(linear), this.take('i32'));
  }

  load(linear: Value, bytes: number, float = false): Value {
    const entry = this.#entry(linear);
    const type = float ? (bytes === 8 ? 'f64' : 'f32') : bytes === 16 ? 'v128' : bytes === 8 ? 'i64' : 'i32';
    const name = float ? `${type}.load` : LOAD[bytes]!;
    return this.valueOn(
      this.#hits(linear, entry, TLB_READ_TAG, bytes),
      type,
      () => this.loadArena(this.#arenaAddress(linear, entry), name, type),
      () => {
        this.callSlow('read', linear, bytes);
        this.push(this.cpu);
        this.code.memory(name, SLOW_DATA);
        return this.take(type);
      },
    );
  }

  protected loadArena(address: Value, name: string, type: ValueType, offset = 0): Value {
    this.push(address);
    this.code.memory(name, offset);
    return this.take(type);
  }

  store(linear: Value, bytes: number, value: Value): void {
    const entry = this.#entry(linear);
    const float = value.type === 'f32' || value.type === 'f64';
    const name = float ? `${value.type}.store` : STORE[bytes]!;
    this.branchOn(
      this.#hits(linear, entry, TLB_WRITE_TAG, bytes),
      () => {
        this.push(this.#arenaAddress(linear, entry));
        this.push(value);
        this.code.memory(name, 0);
      },
      () => {
        this.push(this.cpu);
        this.push(value);
        this.code.memory(name, SLOW_DATA);
        this.callSlow('write', linear, bytes);
        this.afterSlowWrite();
      },
    );
  }

  /** Read-modify-write at a linear address. */
  protected modifyMemory(
    linear: Value,
    bytes: number,
    lock: boolean,
    change: (old: Value) => Value,
  ): { old: Value; value: Value } {
    const entry = this.#entry(linear);
    const address = this.code.local('i32');
    const slow = this.code.local('i32');
    let direct = this.#hits(linear, entry, TLB_WRITE_TAG, bytes);
    if (lock && bytes > 1)
      direct = this.and(direct, this.eqz(this.and(this.wrap(linear), this.i32(bytes - 1))));
    this.branchOn(
      direct,
      () => {
        this.push(this.#arenaAddress(linear, entry));
        this.code.set(address);
        this.code.i32Const(0);
        this.code.set(slow);
      },
      () => {
        this.callSlow('modifyBegin', linear, bytes | (lock ? 0x100 : 0));
        this.push(this.getState('i32', HELPER_ARG0));
        this.code.set(address);
        this.code.i32Const(1);
        this.code.set(slow);
      },
    );
    const at = this.fromLocal(address, 'i32');
    const result = lock ? this.#modifyAtomic(at, bytes, change) : this.#modifyPlain(at, bytes, change);
    this.branchOn(this.fromLocal(slow, 'i32'), () => {
      this.callSlow('modifyEnd', linear, bytes | (lock ? 0x100 : 0));
      this.afterSlowWrite();
    });
    return result;
  }

  #modifyPlain(address: Value, bytes: number, change: (old: Value) => Value): { old: Value; value: Value } {
    const old = this.loadArena(address, LOAD[bytes]!, bytes === 8 ? 'i64' : 'i32');
    const value = change(old);
    this.push(address);
    this.push(value);
    this.code.memory(STORE[bytes]!, 0);
    return { old, value };
  }

  #modifyAtomic(address: Value, bytes: number, change: (old: Value) => Value): { old: Value; value: Value } {
    const type = bytes === 8 ? 'i64' : 'i32';
    const seen = this.variable(this.loadArena(address, LOAD[bytes]!, type));
    const oldLocal = this.code.local(type);
    const newLocal = this.code.local(type);
    this.loop((again) => {
      const old = seen.get();
      const value = this.zeroExtend(change(old), bytes * 8);
      this.push(old);
      this.code.set(oldLocal);
      this.push(value);
      this.code.set(newLocal);
      this.push(address);
      this.push(old);
      this.push(value);
      this.code.atomic(CMPXCHG[bytes]!, 0);
      seen.set(this.take(type));
      this.branchIf(again, this.ne(seen.get(), old));
    });
    return { old: this.fromLocal(oldLocal, type), value: this.fromLocal(newLocal, type) };
  }

  linear(segment: number | Value, offset: Value, bytes: number, _access: 'read' | 'write'): Value {
    if (this.segmentModel === 'long') return this.#linearLong(segment, offset);
    const slot = typeof segment === 'number' ? undefined : this.add(this.cpu, this.shl(segment, this.i32(5)));
    const field = (at: number): Value => {
      if (typeof segment === 'number') return this.getState('i64', SEGMENT + segment * 32 + at);
      this.push(slot!);
      this.code.memory('i64.load', SEGMENT + at);
      return this.take('i64');
    };
    const last = bytes <= 1 ? offset : this.add(offset, this.i64(bytes - 1));
    const outside = this.or(this.ltS(offset, field(SEGMENT_LOW)), this.gtS(last, field(SEGMENT_HIGH)));
    this.branchOn(outside, () => {
      if (typeof segment === 'number') this.raise(segment === SS ? 12 : 13, 0);
      else
        this.branchOn(
          this.eq(segment, this.i32(SS)),
          () => this.raise(12, 0),
          () => this.raise(13, 0),
        );
    });
    return this.and(this.add(offset, field(SEGMENT_BASE)), this.i64(0xffffffffn));
  }

  #linearLong(segment: number | Value, offset: Value): Value {
    if (typeof segment === 'number') {
      return segment < 4
        ? offset
        : this.add(offset, this.getState('i64', SEGMENT + segment * 32 + SEGMENT_BASE));
    }
    // ES, CS, SS and DS have base zero in 64-bit mode.
    return this.ifValue(
      this.ltU(segment, this.i32(4)),
      'i64',
      () => offset,
      () => {
        this.push(this.add(this.cpu, this.shl(segment, this.i32(5))));
        this.code.memory('i64.load', SEGMENT + SEGMENT_BASE);
        return this.add(offset, this.take('i64'));
      },
    );
  }

  readGpr(index: number, bits: OperandBits): Value {
    const kind = bits === 8 ? 'u8' : bits === 16 ? 'u16' : bits === 32 ? 'i32' : 'i64';
    return this.getState(kind, index * 8);
  }

  writeGpr(index: number, bits: OperandBits, value: Value): void {
    if (bits === 32) this.setState('i64', index * 8, this.extendU(value));
    else this.setState(bits === 8 ? 'u8' : bits === 16 ? 'u16' : 'i64', index * 8, value);
  }

  /** RSP as the stack address size sees it, i64. */
  #stackPointer(): Value {
    return this.toBits(this.readGpr(4, this.stackBits), 64);
  }

  #setStackPointer(value: Value): void {
    this.writeGpr(4, this.stackBits, this.toBits(value, this.stackBits));
  }

  push_(value: Value, bits: OperandBits): void {
    const bytes = bits / 8;
    const top = this.zeroExtend(this.sub(this.#stackPointer(), this.i64(bytes)), this.stackBits);
    this.store(this.linear(SS, top, bytes, 'write'), bytes, value);
    this.#setStackPointer(top);
  }

  pop(bits: OperandBits): { value: Value; commit(): void } {
    const bytes = bits / 8;
    const top = this.#stackPointer();
    const value = this.load(this.linear(SS, top, bytes, 'read'), bytes);
    return {
      value,
      commit: () => this.#setStackPointer(this.zeroExtend(this.add(top, this.i64(bytes)), this.stackBits)),
    };
  }

  /** Whether CR0.PE is set, i32. */
  protected protectedMode(): Value {
    return this.and(this.getState('i32', CR0), this.i32(1));
  }
}
