// The compiled tier's Emitter: a region of blocks becomes one function of the handlers' type. General registers and
// arithmetic flags are locals while it runs; every way out writes them back. Operands are constants, read from the
// interpreter's records, so that the meanings and the operand code are the interpreter's own.
//
// Arithmetic flags of straight-line code stay symbolic (the comparison that made them) until something needs them.

import type { CodeBody } from '#shared/wasm/code-sink.js';
import {
  BLOCK_RIP,
  CC_CARRY,
  CC_MISC,
  CC_RESULT,
  CURRENT_RECORD,
  EXIT_LOOKUP,
  EXIT_PENDING,
  PENDING,
  RIP,
} from '#shared/x86/cpu-state.js';
import type { ArithmeticKind, FlagName, HelperOptions, OperandBits, Value, ValueType } from './emitter.js';
import { flagLiveness } from './flag-liveness.js';
import { analyzeFlow, type FlowGraph } from './flow-graph.js';
import type { Label } from './emitter.js';
import type { HandlerShape } from './handler-shape.js';
import { type HandlerModule, InterpreterEmitter } from './interpreter-emitter.js';
import { InterpreterOperands } from './interpreter-operands.js';
import { LINK_NEXT, LINK_NEXT_DELTA, LINK_TAKEN, LINK_TAKEN_DELTA, RECORD_HANDLER } from './op-record.js';
import type { RegionBlock, RegionInstruction } from './region.js';

interface SymbolicFlags {
  readonly kind: ArithmeticKind;
  readonly bits: OperandBits;
  readonly a: Value;
  readonly b: Value;
  readonly result: Value;
  /** No carry in: orders compare the operands. */
  readonly plain: boolean;
  /** INC and DEC: the carry flag that stays, i32. */
  readonly carry: Value | undefined;
}

/** What a first pass learns, so that the second loads and stores no more registers than it must. */
export interface RegisterUse {
  readonly read: Set<number>;
  readonly written: Set<number>;
  flagsWritten: boolean;
  /** Something in the region may change what {@link Emitter.checkOnce} checks. */
  checksChange: boolean;
}

export const allRegisters = (): RegisterUse => ({
  read: new Set(Array.from({ length: 16 }, (_, i) => i)),
  written: new Set(Array.from({ length: 16 }, (_, i) => i)),
  flagsWritten: true,
  checksChange: true,
});

const PLAIN_SUB = new Set(['Cmp', 'Sub', 'Neg', 'Cmpxchg']);
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

export class RegionEmitter extends InterpreterEmitter {
  /** What this pass found. */
  readonly found: RegisterUse = {
    read: new Set(),
    written: new Set(),
    flagsWritten: false,
    checksChange: false,
  };
  readonly #use: RegisterUse;
  readonly #view: DataView;
  readonly #blocks: readonly RegionBlock[];
  readonly #nodeAt: ReadonlyMap<number, number>;
  readonly #flow: FlowGraph;
  readonly #flagsLiveIn: readonly boolean[];
  readonly #headRecord: number;
  readonly #functionIndex: number;
  readonly #registers: number[] = [];
  readonly #headRip: number;
  readonly #ccResult: number;
  readonly #ccCarry: number;
  readonly #ccMisc: number;
  readonly #stale: number;
  /** Labels of enclosing loops and merge blocks by node. */
  readonly #labels = new Map<number, Label>();
  #block: RegionBlock;
  #node = 0;
  #symbolic: SymbolicFlags | undefined;
  #flagsInMemory = false;
  #wroteSlow = false;
  /** Checks that were made on every way to this place, and at the end of each node. */
  #checked = new Set<string>();
  readonly #checkedAt = new Map<number, Set<string>>();

  /** `headRecord` is the record whose handler the function becomes, `functionIndex` its place in the table. */
  constructor(
    blocks: readonly RegionBlock[],
    module: HandlerModule,
    view: DataView,
    headRecord: number,
    functionIndex: number,
    use: RegisterUse,
  ) {
    super(BASE_SHAPE, module);
    this.#use = use;
    this.#view = view;
    this.#blocks = blocks;
    this.#headRecord = headRecord;
    this.#functionIndex = functionIndex;
    this.#nodeAt = new Map(blocks.map((block, i) => [block.delta, i]));
    const successors = blocks.map((block) => this.#successors(block));
    this.#flow = analyzeFlow(successors);
    const kept = successors.map((list, from) =>
      list.filter((to) => !this.#flow.cut.has(from * blocks.length + to)),
    );
    this.#flagsLiveIn = flagLiveness(blocks, kept);
    this.#block = blocks[0]!;
    for (let i = 0; i < 16; i++) this.#registers.push(this.code.local('i64'));
    this.#headRip = this.code.local('i64');
    this.#ccResult = this.code.local('i64');
    this.#ccCarry = this.code.local('i32');
    this.#ccMisc = this.code.local('i32');
    this.#stale = this.code.local('i32');
  }

  #successors(block: RegionBlock): number[] {
    const nodes: number[] = [];
    for (const target of [block.taken, block.next]) {
      const node = target === undefined ? undefined : this.#nodeAt.get(target);
      if (node !== undefined && !nodes.includes(node)) nodes.push(node);
    }
    return nodes;
  }

  /** The function's body. */
  emit(): CodeBody {
    super.push(super.getState('i64', BLOCK_RIP));
    this.code.set(this.#headRip);
    this.#loadState();
    this.code.i32Const(0);
    this.code.set(this.#stale);
    this.#tree(0);
    this.code.unreachable();
    return this.code.finish();
  }

  // Structure.

  #tree(node: number): void {
    const inside = this.#flow.dominated.get(node)!.filter((child) => this.#flow.merges.has(child));
    // The last in the order is reached from the most places: outermost.
    inside.sort((a, b) => this.#flow.position.get(b)! - this.#flow.position.get(a)!);
    const body = (): void => this.#within(node, inside);
    if (!this.#flow.loopHeaders.has(node)) body();
    else
      super.loop((again) => {
        this.#labels.set(node, again);
        body();
      });
  }

  #within(node: number, merges: readonly number[]): void {
    const [outer, ...rest] = merges;
    if (outer === undefined) {
      this.#emitBlock(node);
      return;
    }
    super.block((end) => {
      this.#labels.set(outer, end);
      this.#within(node, rest);
    });
    this.#tree(outer);
  }

  #emitBlock(node: number): void {
    const block = this.#blocks[node]!;
    this.#node = node;
    this.#block = block;
    this.#symbolic = undefined;
    const above = this.#use.checksChange ? undefined : this.#checkedAt.get(this.#flow.dominator.get(node)!);
    this.#checked = new Set(above);
    this.#checkedAt.set(node, this.#checked);
    for (const instruction of block.instructions) {
      this.record = this.i32(instruction.record);
      this.left = false;
      if (instruction.shape === undefined) this.#edge(block.next!, LINK_NEXT, LINK_NEXT_DELTA);
      else this.#emitInstruction(instruction);
      if (this.left) break;
    }
    if (!this.left) this.#leaveAfter();
  }

  #emitInstruction({ shape, entry }: RegionInstruction): void {
    this.shape = shape!;
    this.segmentModel = 'long';
    this.stackBits = 64;
    this.#wroteSlow = false;
    entry!.sem(this, new InterpreterOperands(this, shape!));
    if (shape!.fusedCondition !== undefined) this.fusedJump(shape!.fusedCondition);
    if (this.#wroteSlow && !this.left) this.#leaveIfStale();
  }

  /** A write on the slow path dropped this very region: the next instruction may be another now. */
  #leaveIfStale(): void {
    this.branchOn(this.fromLocal(this.#stale, 'i32'), () => this.#leaveAfter());
  }

  override checkOnce(name: string, check: () => void): void {
    if (this.#checked.has(name)) return;
    check();
    this.#checked.add(name);
  }

  /** Leaves with RIP behind the current instruction. */
  #leaveAfter(): void {
    const ip = this.nextIp();
    this.beforeLeave();
    super.setState('i64', RIP, ip);
    this.returnExit(EXIT_LOOKUP);
  }

  /** Goes to a place at `delta` from the region's start: inside the region, or out through the record's link. */
  #edge(delta: number, linkOffset: number, deltaOffset: number): void {
    const node = this.#nodeAt.get(delta);
    const from = this.#node;
    if (node === undefined || this.#flow.cut.has(from * this.#blocks.length + node)) {
      this.follow(linkOffset, deltaOffset, 64);
      this.left = true;
      return;
    }
    const back = this.#flow.position.get(node)! <= this.#flow.position.get(from)!;
    if (back) this.#poll(delta);
    if (this.#flagsLiveIn[node]!) this.#commit();
    const label = this.#labels.get(node);
    if (label !== undefined && (back || this.#flow.merges.has(node))) super.branch(label);
    else this.#inline(node);
    this.left = true;
  }

  /** Emits a node here that only this edge reaches; comes back to the block that the edge is in. */
  #inline(node: number): void {
    const saved = {
      block: this.#block,
      node: this.#node,
      symbolic: this.#symbolic,
      checked: this.#checked,
      record: this.record,
      shape: this.shape,
    };
    this.#tree(node);
    this.#block = saved.block;
    this.#node = saved.node;
    this.#symbolic = saved.symbolic;
    this.#checked = saved.checked;
    this.record = saved.record;
    this.shape = saved.shape;
  }

  /** Back edges see pending work. */
  #poll(delta: number): void {
    this.branchOn(super.getState('i32', PENDING), () => {
      this.#withFlags(() => this.beforeLeave());
      super.setState('i64', RIP, this.add(this.fromLocal(this.#headRip, 'i64'), this.i64(delta)));
      this.returnExit(EXIT_PENDING);
    });
  }

  override jumpDirect(): void {
    if (this.#block.taken === undefined) super.jumpDirect();
    else this.#edge(this.#block.taken, LINK_TAKEN, LINK_TAKEN_DELTA);
  }

  override jumpDirectIf(condition: Value): void {
    this.branchOn(condition, () =>
      this.#withFlags(() => this.#edge(this.#block.taken!, LINK_TAKEN, LINK_TAKEN_DELTA)),
    );
    this.#edge(this.#block.next!, LINK_NEXT, LINK_NEXT_DELTA);
  }

  override fusedJump(cc: number): void {
    this.jumpDirectIf(this.condition(cc));
  }

  override followNext(): void {
    throw new Error('a region has no internal handlers');
  }

  /** Runs `work` on one way of a fork: the other way sees the flags as they were. */
  #withFlags(work: () => void): void {
    const symbolic = this.#symbolic;
    work();
    this.#symbolic = symbolic;
  }

  // Records are constants.

  override recordU16(offset: number): Value {
    return this.i32(this.#view.getUint16(this.#recordOffset() + offset, true));
  }

  override recordU8(offset: number): Value {
    return this.i32(this.#view.getUint8(this.#recordOffset() + offset));
  }

  override recordI32(offset: number): Value {
    return this.i32(this.#view.getInt32(this.#recordOffset() + offset, true));
  }

  override recordI64(offset: number): Value {
    return this.i64(this.#view.getBigInt64(this.#recordOffset() + offset, true));
  }

  #recordOffset(): number {
    return Number(BigInt.asUintN(32, this.constantOf(this.record)!));
  }

  // Registers are locals.

  override loadStateAt(offset: Value, instruction: string, type: 'i32' | 'i64' | 'v128'): Value {
    const at = Number(this.constantOf(offset)!);
    switch (instruction) {
      case 'i32.load8_u':
        return this.getState('u8', at);
      case 'i32.load16_u':
        return this.getState('u16', at);
      default:
        return this.getState(type, at);
    }
  }

  override storeStateAt(offset: Value, instruction: string, value: Value): void {
    const at = Number(this.constantOf(offset)!);
    const kinds: Readonly<Record<string, 'u8' | 'u16' | 'i32' | 'i64' | 'v128'>> = {
      'i32.store8': 'u8',
      'i32.store16': 'u16',
      'i32.store': 'i32',
      'i64.store': 'i64',
      'v128.store': 'v128',
    };
    this.setState(kinds[instruction]!, at, value);
  }

  override getState(kind: 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128', offset: number): Value {
    if (offset < 128) return this.#readRegister(kind, offset);
    if (offset === BLOCK_RIP)
      return this.add(this.fromLocal(this.#headRip, 'i64'), this.i64(this.#block.delta));
    // The slot that stands for an absent register.
    if (offset === 136) return this.i64(0);
    if (!this.#flagsInMemory) {
      if (offset === CC_RESULT && kind === 'i64') return this.#copy(this.#ccResult, 'i64');
      if (offset === CC_RESULT && kind === 'u8')
        return this.and(this.wrap(this.#copy(this.#ccResult, 'i64')), this.i32(0xff));
      if (offset === CC_RESULT + 4)
        return this.wrap(this.shrU(this.#copy(this.#ccResult, 'i64'), this.i64(32)));
      if (offset === CC_CARRY) return this.#copy(this.#ccCarry, 'i32');
      if (offset === CC_MISC) return this.#copy(this.#ccMisc, 'i32');
    }
    return super.getState(kind, offset);
  }

  override setState(
    kind: 'u8' | 'u16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128',
    offset: number,
    value: Value,
  ): void {
    if (offset < 128) {
      this.#writeRegister(kind, offset, value);
      return;
    }
    if (!this.#flagsInMemory) {
      const local =
        offset === CC_RESULT
          ? this.#ccResult
          : offset === CC_CARRY
            ? this.#ccCarry
            : offset === CC_MISC
              ? this.#ccMisc
              : -1;
      if (local >= 0) {
        super.push(value);
        this.code.set(local);
        return;
      }
    }
    super.setState(kind, offset, value);
  }

  /** A local's value now, safe from later writes. */
  #copy(local: number, type: ValueType): Value {
    this.code.get(local);
    return this.take(type);
  }

  #readRegister(kind: string, offset: number): Value {
    const register = offset >> 3;
    this.found.read.add(register);
    const whole = this.#copy(this.#registers[register]!, 'i64');
    if (kind === 'i64') return whole;
    const low = this.wrap((offset & 7) === 0 ? whole : this.shrU(whole, this.i64((offset & 7) * 8)));
    return kind === 'u8' ? this.zeroExtend(low, 8) : kind === 'u16' ? this.zeroExtend(low, 16) : low;
  }

  #writeRegister(kind: string, offset: number, value: Value): void {
    const register = offset >> 3;
    this.found.written.add(register);
    const local = this.#registers[register]!;
    if (kind === 'i64') super.push(value);
    else {
      this.found.read.add(register);
      const bits = kind === 'u8' ? 8 : kind === 'u16' ? 16 : 32;
      const shift = BigInt((offset & 7) * 8);
      const mask = ((1n << BigInt(bits)) - 1n) << shift;
      const kept = this.and(this.#copy(local, 'i64'), this.i64(~mask));
      super.push(this.or(kept, this.shl(this.extendU(this.zeroExtend(value, bits)), this.i64(shift))));
    }
    this.code.set(local);
  }

  #loadState(): void {
    for (const register of new Set([...this.#use.read, ...this.#use.written])) {
      super.push(super.getState('i64', register * 8));
      this.code.set(this.#registers[register]!);
    }
    for (const [slot, local, type] of this.#flagSlots()) {
      super.push(super.getState(type, slot));
      this.code.set(local);
    }
  }

  #flagSlots(): readonly (readonly [number, number, 'i32' | 'i64'])[] {
    return [
      [CC_RESULT, this.#ccResult, 'i64'],
      [CC_CARRY, this.#ccCarry, 'i32'],
      [CC_MISC, this.#ccMisc, 'i32'],
    ];
  }

  /** Writes registers and flags back. */
  protected override beforeLeave(): void {
    for (const register of this.#use.written)
      super.setState('i64', register * 8, this.fromLocal(this.#registers[register]!, 'i64'));
    if (this.#symbolic !== undefined) {
      this.#flagsInMemory = true;
      this.#materialize(this.#symbolic);
      this.#flagsInMemory = false;
    } else if (this.#use.flagsWritten) {
      for (const [slot, local, type] of this.#flagSlots())
        super.setState(type, slot, this.fromLocal(local, type));
    }
  }

  protected override beforeSlow(): void {
    super.setState('i64', BLOCK_RIP, this.getState('i64', BLOCK_RIP));
  }

  protected override afterSlowWrite(): void {
    this.#wroteSlow = true;
    this.#noteStale();
  }

  #noteStale(): void {
    super.push(this.i32(this.#headRecord));
    this.code.memory('i32.load', RECORD_HANDLER);
    super.push(this.ne(this.take('i32'), this.i32(this.#functionIndex)));
    this.code.set(this.#stale);
  }

  override helper(name: string, args: readonly Value[] = [], options: HelperOptions = {}): void {
    if (options.confined === true) {
      this.beforeSlow();
      super.helper(name, args);
      return;
    }
    this.found.checksChange = true;
    this.#checked.clear();
    this.beforeLeave();
    this.#symbolic = undefined;
    this.beforeSlow();
    this.syncIp();
    super.setState('i32', CURRENT_RECORD, this.record);
    super.push(this.record);
    for (let i = 0; i < 3; i++) super.push(args[i] ?? this.i32(0));
    this.code.call(this.module.helper(name));
    this.forgetFlags();
    this.found.flagsWritten = true;
    if (options.ends === true) {
      this.code.return();
      this.left = true;
      return;
    }
    const status = this.take('i32');
    this.branchOn(status, () => {
      super.push(status);
      this.code.return();
    });
    this.#loadState();
    this.#wroteSlow = true;
    this.#noteStale();
  }

  // Flags.

  override setFlags(kind: ArithmeticKind, bits: OperandBits, a: Value, b: Value, result: Value): void {
    if (this.shape.flagsDead) return;
    this.found.flagsWritten = true;
    const carry = kind === 'inc' || kind === 'dec' ? this.getFlag('cf') : undefined;
    const { mnemonic } = this.shape;
    const plain = kind === 'sub' && PLAIN_SUB.has(mnemonic);
    this.#symbolic = { kind, bits, a, b, result, plain, carry };
  }

  /** Writes symbolic flags to the CC locals (or slots) by the interpreter's own code. */
  #materialize(flags: SymbolicFlags): void {
    if (flags.carry !== undefined) this.setState('i32', CC_CARRY, this.shl(flags.carry, this.i32(31)));
    const dead = this.flagsDead;
    this.flagsDead = false;
    super.setFlags(flags.kind, flags.bits, flags.a, flags.b, flags.result);
    this.flagsDead = dead;
    this.forgetFlags();
  }

  #commit(): void {
    if (this.#symbolic === undefined) return;
    this.#materialize(this.#symbolic);
    this.#symbolic = undefined;
  }

  override setResultFlags(
    bits: OperandBits,
    result: Value,
    flags: { cf?: Value; of?: Value; af?: Value } = {},
  ): void {
    if (this.shape.flagsDead) return;
    this.found.flagsWritten = true;
    this.#symbolic = undefined;
    super.setResultFlags(bits, result, flags);
    this.forgetFlags();
  }

  override writeFlags(flags: Partial<Record<FlagName, Value>>): void {
    if (this.shape.flagsDead) return;
    this.found.flagsWritten = true;
    this.#commit();
    super.writeFlags(flags);
    this.forgetFlags();
  }

  override writeArithmeticFlags(image: Value): void {
    this.found.flagsWritten = true;
    this.#symbolic = undefined;
    super.writeArithmeticFlags(image);
    this.forgetFlags();
  }

  override getFlag(flag: FlagName): Value {
    const flags = this.#symbolic;
    if (flags !== undefined && !this.#flagsInMemory) {
      if (flag === 'cf' && flags.carry !== undefined) return flags.carry;
      if (flag === 'cf' && flags.kind === 'logic') return this.i32(0);
      if (flag === 'cf' && flags.plain)
        return this.ltU(this.#narrow(flags.a, false), this.#narrow(flags.b, false));
      if (flag === 'zf') return this.eqz(this.#narrow(flags.result, false));
      this.#commit();
    }
    return super.getFlag(flag);
  }

  #narrow(value: Value, signed: boolean): Value {
    const { bits } = this.#symbolic!;
    if (bits >= 32) return value;
    return signed ? this.signExtend(value, bits) : this.zeroExtend(value, bits);
  }

  override condition(cc: number): Value {
    const flags = this.#symbolic;
    if (flags === undefined) {
      this.forgetFlags();
      return super.condition(cc);
    }
    const direct = this.#directly(flags, cc & 14);
    if (direct !== undefined) return (cc & 1) === 0 ? direct : this.xor(direct, this.i32(1));
    this.#commit();
    return super.condition(cc);
  }

  /** The even condition codes that need no flags. */
  #directly(flags: SymbolicFlags, cc: number): Value | undefined {
    const zero = this.constant(flags.bits, 0);
    if (cc === 4) return this.eqz(this.#narrow(flags.result, false));
    if (cc === 8) return this.ltS(this.#narrow(flags.result, true), zero);
    if (cc === 2 && flags.carry !== undefined) return flags.carry;
    if (flags.kind === 'logic') {
      if (cc === 0 || cc === 2) return this.i32(0);
      if (cc === 6) return this.eqz(this.#narrow(flags.result, false));
      if (cc === 12) return this.ltS(this.#narrow(flags.result, true), zero);
      if (cc === 14) return this.leS(this.#narrow(flags.result, true), zero);
      return undefined;
    }
    if (!flags.plain) return undefined;
    const a = (signed: boolean): Value => this.#narrow(flags.a, signed);
    const b = (signed: boolean): Value => this.#narrow(flags.b, signed);
    if (cc === 2) return this.ltU(a(false), b(false));
    if (cc === 6) return this.leU(a(false), b(false));
    if (cc === 12) return this.ltS(a(true), b(true));
    if (cc === 14) return this.leS(a(true), b(true));
    return undefined;
  }

  // Control flow within an instruction's meaning: flags are in the locals at its joins.

  override if(condition: Value, then: () => void, otherwise?: () => void): void {
    this.#commit();
    super.branchOn(
      condition,
      () => {
        then();
        this.#commit();
      },
      otherwise === undefined
        ? undefined
        : () => {
            otherwise();
            this.#commit();
          },
    );
  }

  override branch(label: Label): void {
    this.#commit();
    super.branch(label);
  }

  override branchIf(label: Label, condition: Value): void {
    this.#commit();
    super.branchIf(label, condition);
  }

  override block(body: (end: Label) => void): void {
    this.#commit();
    super.block((end) => {
      body(end);
      this.#commit();
    });
  }

  override loop(body: (again: Label) => void): void {
    this.#commit();
    super.loop((again) => {
      body(again);
      this.#commit();
    });
  }
}
