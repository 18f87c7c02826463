// Counts guest instructions in a region that was asked for with counting records: by a local that each block adds to and that
// is written to the state page wherever the registers are. Ways out of the middle of a block take back what did not retire.

import { COUNTED_RECORD, COUNT_COMPILED, EXIT_EXCEPTION, EXIT_REPEAT } from '#shared/x86/cpu-state.js';
import type { Value } from './emitter.js';
import { RECORD_INSTRUCTIONS } from './op-record.js';
import type { RegionBlock } from './region.js';
import { RegionFlags } from './region-flags.js';

export abstract class RegionCount extends RegionFlags {
  #local = -1;
  /** Of the block at hand: instructions behind the one at hand, and those that that one stands for. */
  #behind = 0;
  #own = 0;

  /** At the region's start, when its blocks are counted. */
  protected startCount(): void {
    this.#local = this.code.local('i64');
    super.setState('i32', COUNTED_RECORD, this.i32(0));
  }

  protected countBlock({ counted }: RegionBlock): void {
    this.#behind = counted;
    this.#own = 0;
    this.#add(counted);
  }

  protected countInstruction(record: number): void {
    this.#own = this.view.getUint8(record + RECORD_INSTRUCTIONS);
    this.#behind -= this.#own;
  }

  /** Emitted elsewhere in between. */
  protected keepCount(work: () => void): void {
    const [behind, own] = [this.#behind, this.#own];
    work();
    [this.#behind, this.#own] = [behind, own];
  }

  /** Leaves behind the instruction at hand; RIP is set. */
  protected leaveBehind(exit: number): void {
    this.#add(-this.#behind);
    super.leaveWith(this.i32(exit));
  }

  protected override leaveWith(status: Value): void {
    this.#add(-this.#behind - this.#own);
    super.leaveWith(status);
  }

  protected override storeAll(): void {
    super.storeAll();
    if (this.#local < 0) return;
    const count = this.add(super.getState('i64', COUNT_COMPILED), this.fromLocal(this.#local, 'i64'));
    super.setState('i64', COUNT_COMPILED, count);
    this.code.i64Const(0n);
    this.code.set(this.#local);
  }

  /** The count is in the state page: {@link storeAll} came before the helper. */
  protected override noteHelperExit(status: Value): void {
    if (this.#local < 0) return;
    const open = this.or(this.eq(status, this.i32(EXIT_EXCEPTION)), this.eq(status, this.i32(EXIT_REPEAT)));
    const lost = this.select(open, this.i64(this.#behind + this.#own), this.i64(this.#behind));
    super.setState('i64', COUNT_COMPILED, this.sub(super.getState('i64', COUNT_COMPILED), lost));
  }

  protected override returnStatus(): void {
    if (this.#local >= 0) {
      const status = this.take('i32');
      this.noteHelperExit(status);
      super.push(status);
    }
    super.returnStatus();
  }

  #add(instructions: number): void {
    if (this.#local < 0 || instructions === 0) return;
    super.push(this.add(this.fromLocal(this.#local, 'i64'), this.i64(instructions)));
    this.code.set(this.#local);
  }
}
