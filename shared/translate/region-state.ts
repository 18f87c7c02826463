// The state of a compiled region while it runs: general registers, XMM registers and the lazy flag words are locals, the
// operation records are constants, and what leaves on a fault goes through one place that writes the locals back.

import type { SignatureLookup } from '#shared/wasm/code-sink.js';
import { TreeWriter } from '#shared/wasm/tree-writer.js';
import {
  BLOCK_RIP,
  CC_CARRY,
  CC_MISC,
  CC_RESULT,
  EXCEPTION_ERROR_CODE,
  EXCEPTION_VECTOR,
  EXIT_EXCEPTION,
  GPR,
  RSP,
  SS,
  TLB_BASE,
  XMM,
  ZERO_SLOT,
} from '#shared/x86/cpu-state.js';
import type { HelperOptions, Label, Value, ValueType } from './emitter.js';
import type { HandlerShape } from './handler-shape.js';
import { type HandlerModule, InterpreterEmitter } from './interpreter-emitter.js';
import type { SlowImports } from './memory-builder.js';
import { RECORD_HANDLER, RECORD_IP_OFFSET, RECORD_SEGMENT, SLOW_STACK_SEGMENT } from './op-record.js';
import { registerBit } from './shape-effects.js';

export type StateKind = 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** Bits as in shape-effects.ts. */
export interface RegisterUse {
  readonly used: number;
  readonly written: number;
  readonly flags: boolean;
  /** Something in the region may change what {@link Emitter.checkOnce} checks. */
  readonly checksChange: boolean;
}

export interface RegionHandlerModule extends HandlerModule {
  /** Types of what regions call. */
  readonly signatures: SignatureLookup;
  /** Index of the function `(record, cpu)` that calls a record's handler. */
  readonly dispatch: number;
}

const BASE_SHAPE: HandlerShape = {
  mnemonic: 'region',
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

const STACK_MNEMONICS = new Set(['Push', 'Pop', 'Call']);

const STORE_KINDS: Readonly<Record<string, StateKind>> = {
  'i32.store8': 'u8',
  'i32.store16': 'u16',
  'i32.store': 'i32',
  'i64.store': 'i64',
  'v128.store': 'v128',
  'f32.store': 'f32',
  'f64.store': 'f64',
};

export abstract class RegionState extends InterpreterEmitter {
  protected readonly use: RegisterUse;
  protected readonly view: DataView;
  /** Byte offset in the request of the record at hand. */
  protected recordOffset = 0;
  /** Distance of the block at hand from the region's start. */
  protected delta = 0;
  protected readonly headRip: number;
  protected readonly status: number;
  /** Checks that were made on every way to this place. */
  protected checked = new Set<string>();
  protected leaveLabel: Label | undefined;
  /** The instruction at hand wrote on a slow path. */
  protected wroteSlow = false;
  readonly #dispatch: number;
  protected readonly secondWay: number;
  readonly #registers: number[] = [];
  readonly #vectors: number[] = [];
  readonly #ccResult: number;
  readonly #ccCarry: number;
  readonly #ccMisc: number;
  readonly #tlbBase: number;
  readonly #stale: number;

  constructor(module: RegionHandlerModule, view: DataView, use: RegisterUse) {
    const { signatures } = module;
    super(BASE_SHAPE, module, new TreeWriter(signatures.ofType(module.handlerType), signatures));
    this.#dispatch = module.dispatch;
    this.secondWay = module.secondWay;
    this.view = view;
    this.use = use;
    for (let i = 0; i < 16; i++) this.#registers.push(this.#has(i) ? this.code.local('i64') : -1);
    for (let i = 16; i < 32; i++) this.#vectors.push(this.#has(i) ? this.code.local('v128') : -1);
    this.headRip = this.code.local('i64');
    this.status = this.code.local('i32');
    this.#ccResult = this.code.local('i64');
    this.#ccCarry = this.code.local('i32');
    this.#ccMisc = this.code.local('i32');
    this.#tlbBase = this.code.local('i32');
    this.#stale = this.code.local('i32');
  }

  #has(bit: number): boolean {
    return (this.use.used & (1 << bit)) !== 0;
  }

  /** Writes flags that are still symbolic to the flag locals. */
  protected abstract commitFlags(): void;
  /** Forgets symbolic flags: the locals hold them. */
  protected abstract dropFlags(): void;
  /** Runs `work` on one way of a fork: the other way sees the flags as they were. */
  protected abstract onOneWay(work: () => void): void;

  // Records are constants.

  override recordU16(offset: number): Value {
    return this.i32(this.view.getUint16(this.recordOffset + offset, true));
  }

  override recordU8(offset: number): Value {
    return this.i32(this.view.getUint8(this.recordOffset + offset));
  }

  override recordI32(offset: number): Value {
    return this.i32(this.view.getInt32(this.recordOffset + offset, true));
  }

  override recordI64(offset: number): Value {
    return this.i64(this.view.getBigInt64(this.recordOffset + offset, true));
  }

  // Registers are locals.

  override loadStateAt(offset: Value, instruction: string, type: ValueType): Value {
    const at = Number(this.constantOf(offset)!);
    if (instruction === 'i32.load8_u') return this.getState('u8', at);
    return this.getState(instruction === 'i32.load16_u' ? 'u16' : type, at);
  }

  override storeStateAt(offset: Value, instruction: string, value: Value): void {
    this.setState(STORE_KINDS[instruction]!, Number(this.constantOf(offset)!), value);
  }

  override getState(kind: StateKind, offset: number): Value {
    const bit = registerBit(offset);
    if (bit >= 16) return this.#readVector(kind, bit - 16, (offset - XMM) & 15);
    if (bit >= 0) return this.#readRegister(kind, bit, offset & 7);
    switch (offset) {
      case BLOCK_RIP:
        return this.ripAt(this.delta);
      case ZERO_SLOT:
        return this.i64(0);
      case TLB_BASE:
        return this.fromLocal(this.#tlbBase, 'i32');
      case CC_RESULT:
        return kind === 'u8'
          ? this.and(this.wrap(this.#copy(this.#ccResult, 'i64')), this.i32(0xff))
          : this.#copy(this.#ccResult, 'i64');
      case CC_RESULT + 4:
        return this.wrap(this.shrU(this.#copy(this.#ccResult, 'i64'), this.i64(32)));
      case CC_CARRY:
        return this.#copy(this.#ccCarry, 'i32');
      case CC_MISC:
        return this.#copy(this.#ccMisc, 'i32');
      default:
        return super.getState(kind, offset);
    }
  }

  override setState(kind: StateKind, offset: number, value: Value): void {
    const bit = registerBit(offset);
    if (bit >= 16) this.#writeVector(kind, bit - 16, (offset - XMM) & 15, value);
    else if (bit >= 0) this.#writeRegister(kind, bit, offset & 7, value);
    else if (offset === TLB_BASE) {
      this.#assign(this.#tlbBase, value);
      super.setState(kind, offset, this.fromLocal(this.#tlbBase, 'i32'));
    } else {
      const flags = this.#flagLocal(offset);
      if (flags < 0) super.setState(kind, offset, value);
      else this.#assign(flags, value);
    }
  }

  #flagLocal(offset: number): number {
    if (offset === CC_RESULT) return this.#ccResult;
    if (offset === CC_CARRY) return this.#ccCarry;
    return offset === CC_MISC ? this.#ccMisc : -1;
  }

  /** RIP at a distance from the region's start. */
  protected ripAt(delta: number): Value {
    return this.add(this.fromLocal(this.headRip, 'i64'), this.i64(delta));
  }

  #assign(local: number, value: Value): void {
    super.push(value);
    this.code.set(local);
  }

  /** A local's value now, safe from later writes. */
  #copy(local: number, type: ValueType): Value {
    this.code.get(local);
    return this.take(type);
  }

  #readRegister(kind: StateKind, register: number, byte: number): Value {
    const whole = this.#copy(this.#registers[register]!, 'i64');
    if (kind === 'i64') return whole;
    const low = this.wrap(byte === 0 ? whole : this.shrU(whole, this.i64(byte * 8)));
    return kind === 'u8' ? this.zeroExtend(low, 8) : kind === 'u16' ? this.zeroExtend(low, 16) : low;
  }

  #writeRegister(kind: StateKind, register: number, byte: number, value: Value): void {
    const local = this.#registers[register]!;
    if (kind === 'i64') {
      this.#assign(local, value);
      return;
    }
    const bits = kind === 'u8' ? 8 : kind === 'u16' ? 16 : 32;
    const shift = byte * 8;
    const mask = ((1n << BigInt(bits)) - 1n) << BigInt(shift);
    const kept = this.and(this.#copy(local, 'i64'), this.i64(~mask));
    const placed = this.shl(this.extendU(this.zeroExtend(value, bits)), this.i64(shift));
    this.#assign(local, this.or(kept, placed));
  }

  #readVector(kind: StateKind, register: number, byte: number): Value {
    const whole = this.#copy(this.#vectors[register]!, 'v128');
    switch (kind) {
      case 'v128':
        return whole;
      case 'i64':
        return this.op('i64x2.extract_lane', [whole], [byte >> 3]);
      case 'f64':
        return this.op('f64x2.extract_lane', [whole], [byte >> 3]);
      case 'i32':
        return this.op('i32x4.extract_lane', [whole], [byte >> 2]);
      case 'f32':
        return this.op('f32x4.extract_lane', [whole], [byte >> 2]);
      case 'u16':
        return this.op('i16x8.extract_lane_u', [whole], [byte >> 1]);
      case 'u8':
        return this.op('i8x16.extract_lane_u', [whole], [byte]);
    }
  }

  #writeVector(kind: StateKind, register: number, byte: number, value: Value): void {
    const local = this.#vectors[register]!;
    const lanes: Readonly<Record<Exclude<StateKind, 'v128'>, readonly [string, number]>> = {
      i64: ['i64x2.replace_lane', byte >> 3],
      f64: ['f64x2.replace_lane', byte >> 3],
      i32: ['i32x4.replace_lane', byte >> 2],
      f32: ['f32x4.replace_lane', byte >> 2],
      u16: ['i16x8.replace_lane', byte >> 1],
      u8: ['i8x16.replace_lane', byte],
    };
    if (kind === 'v128') this.#assign(local, value);
    else {
      const [name, lane] = lanes[kind];
      this.#assign(local, this.op(name, [this.#copy(local, 'v128'), value], [lane]));
    }
  }

  /** Takes registers and flags from the state page. */
  protected loadAll(): void {
    for (let bit = 0; bit < 32; bit++) {
      if (!this.#has(bit)) continue;
      const [local, type, offset] = this.#place(bit);
      super.push(super.getState(type, offset));
      this.code.set(local);
    }
    super.push(super.getState('i32', TLB_BASE));
    this.code.set(this.#tlbBase);
    for (const [slot, local, type] of this.#flagSlots()) {
      super.push(super.getState(type, slot));
      this.code.set(local);
    }
  }

  /** Writes back what the region may have changed. */
  protected storeAll(): void {
    for (let bit = 0; bit < 32; bit++) {
      if ((this.use.written & (1 << bit)) === 0) continue;
      const [local, type, offset] = this.#place(bit);
      super.setState(type, offset, this.fromLocal(local, type));
    }
    if (!this.use.flags) return;
    for (const [slot, local, type] of this.#flagSlots())
      super.setState(type, slot, this.fromLocal(local, type));
  }

  #place(bit: number): readonly [number, 'i64' | 'v128', number] {
    return bit < 16
      ? [this.#registers[bit]!, 'i64', GPR + bit * 8]
      : [this.#vectors[bit - 16]!, 'v128', XMM + (bit - 16) * 16];
  }

  #flagSlots(): readonly (readonly [number, number, 'i32' | 'i64'])[] {
    return [
      [CC_RESULT, this.#ccResult, 'i64'],
      [CC_CARRY, this.#ccCarry, 'i32'],
      [CC_MISC, this.#ccMisc, 'i32'],
    ];
  }

  // Ways out.

  protected override goTo(record: Value): void {
    super.push(record);
    super.push(this.cpu);
    this.code.returnCall(this.#dispatch);
  }

  /** Leaves with an EXIT_ value; RIP is set already. */
  protected override returnExit(exit: number): void {
    this.leaveWith(this.i32(exit));
  }

  protected leaveWith(status: Value): void {
    this.onOneWay(() => this.commitFlags());
    super.push(status);
    this.code.set(this.status);
    super.branch(this.leaveLabel!);
  }

  override raise(vector: number, errorCode?: number): void {
    this.syncIp();
    super.setState('i32', EXCEPTION_VECTOR, this.i32(vector));
    super.setState('i32', EXCEPTION_ERROR_CODE, this.i32(errorCode ?? -1));
    this.returnExit(EXIT_EXCEPTION);
  }

  /** On a way out with what a helper returned. */
  protected noteHelperExit(_status: Value): void {}

  protected override leaveIfNotZero(): void {
    const status = this.take('i32');
    this.branchOn(status, () => this.leaveWith(status));
  }

  /** The slow paths of regions (region-slow.ts) are told RIP as a distance from the region's start. */
  protected override callSlow(path: keyof SlowImports, linear: Value, argument: number): void {
    // PUSH and POP of memory and CALL through it access the stack beside what their segment says: the MMU asks RSP.
    if (this.shape.address !== undefined && !this.shape.far && STACK_MNEMONICS.has(this.shape.mnemonic))
      super.setState('i64', RSP, this.fromLocal(this.#registers[RSP >> 3]!, 'i64'));
    const stack = this.view.getUint8(this.recordOffset + RECORD_SEGMENT) === SS;
    super.push(this.cpu);
    super.push(linear);
    this.code.i32Const(this.delta + this.view.getUint16(this.recordOffset + RECORD_IP_OFFSET, true));
    this.code.i32Const(argument | (stack ? SLOW_STACK_SEGMENT : 0));
    this.code.call(this.slow[path]);
    this.leaveIfNotZero();
  }

  protected override afterSlowWrite(): void {
    this.wroteSlow = true;
    this.#noteStale();
  }

  /** A write may have dropped this very region: its head record has no handler then. */
  #noteStale(): void {
    super.push(this.record);
    this.code.memory('i32.load', RECORD_HANDLER);
    super.push(this.eqz(this.take('i32')));
    this.code.set(this.#stale);
  }

  protected isStale(): Value {
    return this.fromLocal(this.#stale, 'i32');
  }

  override checkOnce(name: string, check: () => void): void {
    if (this.checked.has(name)) return;
    check();
    this.checked.add(name);
  }

  override helper(name: string, args: readonly Value[] = [], options: HelperOptions = {}): void {
    if (options.confined === true) {
      this.syncIp();
      this.#callHelper(name, args);
      this.leaveIfNotZero();
      return;
    }
    this.checked.clear();
    this.commitFlags();
    this.dropFlags();
    this.storeAll();
    this.syncIp();
    this.#callHelper(name, args);
    this.forgetFlags();
    if (options.ends === true) {
      this.returnStatus();
      this.left = true;
      return;
    }
    const status = this.take('i32');
    this.branchOn(status, () => {
      this.noteHelperExit(status);
      super.push(status);
      this.code.return();
    });
    this.loadAll();
    this.wroteSlow = true;
    this.#noteStale();
  }

  /** Returns what a helper left on the stack. */
  protected returnStatus(): void {
    this.code.return();
  }

  #callHelper(name: string, args: readonly Value[]): void {
    this.code.i32Const(0);
    for (let i = 0; i < 3; i++) super.push(args[i] ?? this.i32(0));
    this.code.call(this.module.helper(name));
  }
}
