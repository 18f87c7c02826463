// The interpreter tier's Emitter: turns an instruction's meaning into one wasm handler per shape. A handler is
// `(record: i32, cpu: i32) → EXIT_`; it reads its operands from the record, works on the state page, and tail-calls
// the next record's handler. The compiled tier implements the same interface with operands known.

import type { CodeBody, CodeSink } from '#shared/wasm/code-sink.js';
import { CodeWriter } from '#shared/wasm/code-writer.js';
import {
  BLOCK_RIP,
  CS,
  CURRENT_RECORD,
  EXIT_LOOKUP,
  EXIT_PENDING,
  JUMP_CACHE_BASE,
  LINK_SITE,
  PENDING,
  RIP,
  SEGMENT,
  SEGMENT_BYTES,
  SEGMENT_LIMIT,
} from '#shared/x86/cpu-state.js';
import type { Emitter, HelperOptions, OperandBits, Value, ValueType } from './emitter.js';
import { type HandlerShape, isIndirect } from './handler-shape.js';
import { MemoryBuilder, type SegmentModel, type SlowImports } from './memory-builder.js';
import {
  HANDLER_INVALID,
  INDIRECT_TARGETS,
  INDIRECT_TARGET_COUNT,
  INDIRECT_TARGET_SHIFT,
  JUMP_CACHE_LINKABLE,
  JUMP_CACHE_RECORD,
  JUMP_CACHE_RIP,
  JUMP_CACHE_SECOND_WAY,
  LINK_NEXT,
  LINK_NEXT_DELTA,
  LINK_TAKEN,
  LINK_TAKEN_DELTA,
  RECORD_BYTES,
  RECORD_HANDLER,
  RECORD_IP_OFFSET,
  RECORD_LENGTH,
} from './op-record.js';

/** What handlers need of the module they are in. */
export interface HandlerModule {
  readonly slow: SlowImports;
  /** Type index of `(record, cpu) → i32`. */
  readonly handlerType: number;
  /** Index of the import `helper_<name>: (record, a0, a1, a2) → i32`. */
  helper(name: string): number;
  /** Index of a routine's function. */
  routine(name: string): number;
  /** Index of the function `(record, cpu)` that goes on at RIP when the jump cache's first way does not know it. */
  readonly secondWay: number;
}

export class InterpreterEmitter extends MemoryBuilder implements Emitter {
  protected segmentModel: SegmentModel;
  protected stackBits: 16 | 32 | 64;
  protected shape: HandlerShape;
  protected readonly module: HandlerModule;
  /** The code has left already: nothing follows. */
  protected left = false;

  constructor(shape: HandlerShape, module: HandlerModule, code: CodeSink = new CodeWriter(2)) {
    super(code, module.slow);
    this.shape = shape;
    this.module = module;
    this.flagsDead = shape.flagsDead;
    const legacyMode = shape.modes !== undefined && shape.modes.code !== 64;
    const legacyAddress = shape.address === 'legacy16' || shape.address === 'legacy32';
    this.segmentModel = legacyMode || legacyAddress ? 'legacy' : 'long';
    this.stackBits = shape.modes?.stack ?? 64;
  }

  /** u16 at an offset in the record, as i32. */
  recordU16(offset: number): Value {
    this.push(this.record);
    this.code.memory('i32.load16_u', offset);
    return this.take('i32');
  }

  recordU8(offset: number): Value {
    this.push(this.record);
    this.code.memory('i32.load8_u', offset);
    return this.take('i32');
  }

  recordI32(offset: number): Value {
    this.push(this.record);
    this.code.memory('i32.load', offset);
    return this.take('i32');
  }

  recordI64(offset: number): Value {
    this.push(this.record);
    this.code.memory('i64.load', offset);
    return this.take('i64');
  }

  /** Reads the state page at an offset that is known at run time only. */
  loadStateAt(offset: Value, instruction: string, type: ValueType): Value {
    return this.loadArena(this.add(this.cpu, offset), instruction, type);
  }

  storeStateAt(offset: Value, instruction: string, value: Value): void {
    this.push(this.add(this.cpu, offset));
    this.push(value);
    this.code.memory(instruction, 0);
  }

  modifyAt(linear: Value, bytes: number, change: (old: Value) => Value): { old: Value; value: Value } {
    return this.modifyMemory(linear, bytes, this.shape.lock, change);
  }

  override push(value: Value): void;
  override push(value: Value, bits: OperandBits): void;
  override push(value: Value, bits?: OperandBits): void {
    if (bits === undefined) super.push(value);
    else this.push_(value, bits);
  }

  protected syncIp(): void {
    this.setState('i64', RIP, this.instructionIp());
  }

  instructionIp(): Value {
    return this.#wrapIp(
      this.add(this.getState('i64', BLOCK_RIP), this.extendU(this.recordU16(RECORD_IP_OFFSET))),
    );
  }

  checkOnce(_name: string, check: () => void): void {
    check();
  }

  #wrapIp(ip: Value): Value {
    const mode = this.shape.modes?.code ?? 64;
    return mode === 64 ? ip : this.zeroExtend(ip, mode === 32 ? 32 : 16);
  }

  nextIp(): Value {
    const offset = this.add(this.recordU16(RECORD_IP_OFFSET), this.recordU8(RECORD_LENGTH));
    return this.#wrapIp(this.add(this.getState('i64', BLOCK_RIP), this.extendU(offset)));
  }

  /** Tail-calls the handler of a record. */
  protected goTo(record: Value): void {
    this.push(record);
    super.push(this.cpu);
    this.push(record);
    this.code.memory('i32.load', RECORD_HANDLER);
    this.code.returnCallIndirect(this.module.handlerType);
  }

  protected returnExit(exit: number): void {
    this.code.i32Const(exit);
    this.code.return();
  }

  protected linkTarget(deltaOffset: number, bits: OperandBits, from: Value): Value {
    const moved = this.add(from, this.extendS(this.recordI32(deltaOffset)));
    return bits === 64 ? moved : this.zeroExtend(moved, bits);
  }

  directTarget(): Value {
    return this.linkTarget(LINK_TAKEN_DELTA, this.shape.bits, this.getState('i64', BLOCK_RIP));
  }

  /** Branches that are 16 or 32 bits wide exist outside 64-bit code only. */
  #checkCodeLimit(target: Value): void {
    const limit = this.getState('i32', SEGMENT + CS * SEGMENT_BYTES + SEGMENT_LIMIT);
    this.branchOn(this.gtU(this.wrap(target), limit), () => this.raise(13, 0));
  }

  /** A link slot's value (it changes while the code lives). */
  protected loadLink(offset: number): Value {
    this.push(this.record);
    this.code.memory('i32.load', offset);
    return this.take('i32');
  }

  /** Follows a link slot to its target, `bits` wide. `deltaOffset` holds the target's distance from the block's start. */
  protected follow(linkOffset: number, deltaOffset: number, bits: OperandBits = this.shape.bits): void {
    const from = this.getState('i64', BLOCK_RIP);
    const target = this.linkTarget(deltaOffset, bits, from);
    if (bits !== 64) this.#checkCodeLimit(target);
    this.branchOn(this.getState('i32', PENDING), () => {
      this.setState('i64', RIP, target);
      this.returnExit(EXIT_PENDING);
    });
    const link = this.loadLink(linkOffset);
    this.branchOn(link, () => {
      this.setState('i64', BLOCK_RIP, target);
      this.goTo(link);
    });
    this.dispatch(target, { offset: linkOffset, from });
  }

  /**
   * Finds the block at an IP in the jump cache, or leaves with EXIT_LOOKUP. Within a page (whose translation cannot
   * change between the two) the link slot is set for the next time; the run loop does so after a lookup.
   */
  protected dispatch(target: Value, link?: { offset: number; from: Value }): void {
    const entry = this.add(this.getState('i32', JUMP_CACHE_BASE), this.jumpCacheOffset(target));
    this.push(entry);
    this.code.memory('i64.load', JUMP_CACHE_RIP);
    this.branchOn(this.eq(this.take('i64'), target), () => {
      this.setState('i64', BLOCK_RIP, target);
      const found = this.loadArena(entry, 'i32.load', 'i32', JUMP_CACHE_RECORD);
      if (link !== undefined) {
        const samePage = this.eqz(this.shrU(this.xor(target, link.from), this.i64(12)));
        const linkable = this.loadArena(entry, 'i32.load', 'i32', JUMP_CACHE_LINKABLE);
        // A dropped block's record stays in the jump cache until it is looked up again; a link to it would stay for good.
        const live = this.ne(
          this.loadArena(found, 'i32.load', 'i32', RECORD_HANDLER),
          this.i32(HANDLER_INVALID),
        );
        this.branchOn(this.and(this.and(samePage, linkable), live), () => {
          this.push(this.record);
          this.push(found);
          this.code.memory('i32.store', link.offset);
        });
      }
      this.goTo(found);
    });
    this.setState('i64', RIP, target);
    if (link !== undefined) this.setState('i32', LINK_SITE, this.add(this.record, this.i32(link.offset)));
    super.push(this.record);
    super.push(this.cpu);
    this.code.returnCall(this.module.secondWay);
  }

  /** What {@link dispatch} misses by: RIP and LINK_SITE are set. */
  protected lookInSecondWay(): void {
    const target = this.getState('i64', RIP);
    const entry = this.add(this.getState('i32', JUMP_CACHE_BASE), this.jumpCacheOffset(target));
    this.push(entry);
    this.code.memory('i64.load', JUMP_CACHE_SECOND_WAY + JUMP_CACHE_RIP);
    this.branchOn(this.eq(this.take('i64'), target), () => {
      this.setState('i64', BLOCK_RIP, target);
      this.setState('i32', LINK_SITE, this.i32(0));
      this.goTo(this.loadArena(entry, 'i32.load', 'i32', JUMP_CACHE_SECOND_WAY + JUMP_CACHE_RECORD));
    });
    this.returnExit(EXIT_LOOKUP);
    this.left = true;
  }

  jumpDirect(): void {
    this.follow(LINK_TAKEN, LINK_TAKEN_DELTA);
    this.left = true;
  }

  jumpDirectIf(condition: Value): void {
    this.branchOn(condition, () => this.follow(LINK_TAKEN, LINK_TAKEN_DELTA));
    // The operand size truncates the target only.
    this.follow(LINK_NEXT, LINK_NEXT_DELTA, 64);
    this.left = true;
  }

  jumpIndirect(target: Value, bits: OperandBits): void {
    const ip = bits === 64 ? target : this.zeroExtend(this.toBits(target, 64), bits);
    if (bits !== 64) this.#checkCodeLimit(ip);
    if (isIndirect(this.shape)) this.#noteTarget(ip);
    this.branchOn(this.getState('i32', PENDING), () => {
      this.setState('i64', RIP, ip);
      this.returnExit(EXIT_PENDING);
    });
    this.dispatch(ip);
    this.left = true;
  }

  /** For the region that this code may become part of. */
  #noteTarget(ip: Value): void {
    const low = this.wrap(ip);
    const hash = this.xor(low, this.shrU(low, this.i32(INDIRECT_TARGET_SHIFT)));
    const place = this.and(hash, this.i32(INDIRECT_TARGET_COUNT - 1));
    super.push(this.add(this.record, this.shl(place, this.i32(2))));
    super.push(this.sub(low, this.wrap(this.getState('i64', BLOCK_RIP))));
    this.code.memory('i32.store', INDIRECT_TARGETS);
  }

  endBlock(): void {
    this.jumpIndirect(this.nextIp(), 64);
  }

  routine(name: string, args: readonly Value[]): Value {
    super.push(this.cpu);
    for (const argument of args) super.push(argument);
    this.code.call(this.module.routine(name));
    return this.take('i32');
  }

  helper(name: string, args: readonly Value[] = [], options: HelperOptions = {}): void {
    this.syncIp();
    this.setState('i32', CURRENT_RECORD, this.record);
    super.push(this.record);
    for (let i = 0; i < 3; i++) super.push(args[i] ?? this.i32(0));
    this.code.call(this.module.helper(name));
    this.forgetFlags();
    if (options.ends === true) {
      this.code.return();
      this.left = true;
    } else this.leaveIfNotZero();
  }

  /** To the next block, through this record's second link. */
  followNext(): void {
    this.follow(LINK_NEXT, LINK_NEXT_DELTA, 64);
    this.left = true;
  }

  /** A fused Jcc: `condition` from what the comparison left. */
  fusedJump(cc: number): void {
    const condition = this.compareCondition(cc) ?? this.condition(cc);
    // Fusing is for 64-bit code only, whose near branches are 64 bits wide whatever the comparison's width.
    this.branchOn(condition, () => this.follow(LINK_TAKEN, LINK_TAKEN_DELTA, 64));
    this.follow(LINK_NEXT, LINK_NEXT_DELTA, 64);
    this.left = true;
  }

  /** Ends the handler: goes on with the next record unless the meaning left already. */
  finish(): CodeBody {
    if (this.left) this.code.unreachable();
    else this.goTo(this.add(this.record, this.i32(RECORD_BYTES)));
    return this.code.finish();
  }
}
