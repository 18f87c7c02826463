// The x87 register stack as routines see it: the state page's words, and the conditions under which an instruction is ordinary, so that
// nothing but its result, C1 and PE can come of it. Intel SDM vol. 1 §8.1. Whatever else may happen is the helpers' (actors/vcpu/engine-wasm/helpers/x87*.ts).
import type { RoutineEmitter } from '#shared/translate/routine.js';
import type { Value } from '#shared/translate/emitter.js';
import { X87, X87_CONTROL, X87_IP, X87_STATUS, X87_TAGS, X87_TOP } from '#shared/x86/cpu-state.js';

export const NOT_DONE = 0;
export const DONE = 1;

const C1 = 0x200;
const ES = 0x80;
const PE_SHIFT = 5;
const C1_SHIFT = 9;
const MASKS = 0x3f;
/** Precision and rounding control, exception masks. */
const ARITHMETIC_CONTROL = 0xf3f;
/** 64-bit significands, to nearest, all exceptions masked. */
const ARITHMETIC_PLAIN = 0x33f;

/** A value in the extended format: sign and exponent as the register holds them (i32, 16 bits), significand (i64). */
export interface Extended {
  readonly top: Value;
  readonly significand: Value;
}

/** Ends the routine, its work not done, when `condition` holds. */
export function giveUpIf(e: RoutineEmitter, condition: Value): void {
  e.ifRare(condition, () => e.return(e.i32(NOT_DONE)));
}

export class X87Stack {
  readonly #e: RoutineEmitter;
  readonly #status: Value;
  readonly #tags: Value;
  readonly #top: Value;

  /** Gives up while an exception is pending. */
  constructor(e: RoutineEmitter) {
    this.#e = e;
    this.#status = e.getState('i32', X87_STATUS);
    giveUpIf(e, e.and(this.#status, e.i32(ES)));
    this.#tags = e.getState('i32', X87_TAGS);
    this.#top = e.getState('i32', X87_TOP);
  }

  /** Arithmetic rounds to nearest and to 64 bits, and no exception can interrupt. */
  needPlainArithmetic(): void {
    const e = this.#e;
    const control = e.and(e.getState('i32', X87_CONTROL), e.i32(ARITHMETIC_CONTROL));
    giveUpIf(e, e.ne(control, e.i32(ARITHMETIC_PLAIN)));
  }

  /** No exception can interrupt; gives the rounding control, 0–3. */
  needMaskedExceptions(): Value {
    const e = this.#e;
    const control = e.getState('i32', X87_CONTROL);
    giveUpIf(e, e.ne(e.and(control, e.i32(MASKS)), e.i32(MASKS)));
    return e.and(e.shrU(control, e.i32(10)), e.i32(3));
  }

  /** Number of the physical register that is ST(index). */
  #physical(index: Value): Value {
    const e = this.#e;
    return e.and(e.add(this.#top, index), e.i32(7));
  }

  #isValid(physical: Value): Value {
    const e = this.#e;
    return e.and(e.shrU(this.#tags, physical), e.i32(1));
  }

  /** Offset of ST(index)'s register from the first one's; gives up when it is empty. */
  valid(index: Value): Value {
    const e = this.#e;
    const physical = this.#physical(index);
    giveUpIf(e, e.eqz(this.#isValid(physical)));
    return e.shl(physical, e.i32(4));
  }

  load(slot: Value): Extended {
    const e = this.#e;
    return { significand: e.loadAt(slot, 'i64', X87), top: e.loadAt(slot, 'u16', X87 + 8) };
  }

  store(slot: Value, value: Extended): void {
    const e = this.#e;
    e.storeAt(slot, 'i64', X87, value.significand);
    e.storeAt(slot, 'u16', X87 + 8, value.top);
  }

  /** Gives up when there is no room for one more. */
  needRoom(): void {
    const e = this.#e;
    giveUpIf(e, this.#isValid(this.#physical(e.i32(-1))));
  }

  /** Pushes; after {@link needRoom}. */
  push(value: Extended): void {
    const e = this.#e;
    const physical = this.#physical(e.i32(-1));
    this.store(e.shl(physical, e.i32(4)), value);
    e.setState('i32', X87_TOP, physical);
    e.setState('i32', X87_TAGS, e.or(this.#tags, e.shl(e.i32(1), physical)));
  }

  /** Makes ST(index) valid in the tags that a following pop starts from. */
  copyTo(index: Value, value: Extended, pop: Value): void {
    const e = this.#e;
    const physical = this.#physical(index);
    this.store(e.shl(physical, e.i32(4)), value);
    this.#setTags(e.or(this.#tags, e.shl(e.i32(1), physical)), pop);
  }

  /** Pops `count` (0 to 2) registers. */
  pop(count: Value): void {
    this.#setTags(this.#tags, count);
  }

  #setTags(tags: Value, pops: Value): void {
    const { tags: left, top } = this.#popped(tags, pops);
    const e = this.#e;
    e.setState('i32', X87_TAGS, left);
    e.setState('i32', X87_TOP, top);
  }

  #popped(tags: Value, count: Value): { tags: Value; top: Value } {
    const e = this.#e;
    // The tags are a ring of eight bits: the popped ones in place, and once more above for those that wrap.
    const freed = e.shl(e.sub(e.shl(e.i32(1), count), e.i32(1)), this.#top);
    const wrapped = e.or(freed, e.shrU(freed, e.i32(8)));
    return {
      tags: e.and(tags, e.xor(wrapped, e.i32(-1))),
      top: e.and(e.add(this.#top, count), e.i32(7)),
    };
  }

  /** What a store of the top of the stack leads to: status, TOP and tags. */
  afterStore(inexact: Value, up: Value, pop: Value): { status: Value; top: Value; tags: Value } {
    return { status: this.#statusAfter(inexact, up), ...this.#popped(this.#tags, pop) };
  }

  /** Clears C1 and notes the instruction. */
  finishExact(ip: Value): void {
    const e = this.#e;
    e.setState('i32', X87_STATUS, e.and(this.#status, e.i32(~C1)));
    this.noteInstruction(ip);
  }

  /** Sets PE by `inexact` and C1 by `up` (i32 0 or 1), and notes the instruction. */
  finishRounded(ip: Value, inexact: Value, up: Value): void {
    this.#e.setState('i32', X87_STATUS, this.#statusAfter(inexact, up));
    this.noteInstruction(ip);
  }

  /** Sets condition codes, clears C1. */
  finishCompared(ip: Value, condition: Value): void {
    const e = this.#e;
    const kept = e.and(this.#status, e.i32(~(C1 | 0x4500)));
    e.setState('i32', X87_STATUS, e.or(kept, condition));
    this.noteInstruction(ip);
  }

  #statusAfter(inexact: Value, up: Value): Value {
    const e = this.#e;
    const flags = e.or(e.shl(inexact, e.i32(PE_SHIFT)), e.shl(up, e.i32(C1_SHIFT)));
    return e.or(e.and(this.#status, e.i32(~C1)), flags);
  }

  noteInstruction(ip: Value): void {
    this.#e.setState('i64', X87_IP, ip);
  }
}
