// The compiled tier's Emitter: a region's blocks become one function of the handlers' type, `(record, cpu) → EXIT_`, with
// structured control flow from the dominator tree. It is entered through the region's head record, whose handler it is and
// which tells where its links are; it knows no other address, so that every vCPU and the next boot can use it.

import type { CodeBody } from '#shared/wasm/code-sink.js';
import {
  BLOCK_RIP,
  EXIT_LOOKUP,
  EXIT_PENDING,
  JUMP_CACHE_BASE,
  LINK_SITE,
  PENDING,
  RIP,
} from '#shared/x86/cpu-state.js';
import type { Label, OperandBits, Value } from './emitter.js';
import { type FlagLiveness, flagLiveness } from './flag-liveness.js';
import { analyzeFlow, type FlowGraph } from './flow-graph.js';
import { InterpreterOperands } from './interpreter-operands.js';
import {
  CODE_TLB,
  CODE_TLB_ENTRIES,
  CODE_TLB_PAGE,
  HANDLER_INVALID,
  JUMP_CACHE_LINKABLE,
  JUMP_CACHE_RECORD,
  LINK_NEXT_DELTA,
  LINK_TAKEN_DELTA,
  RECORD_HANDLER,
  RECORD_IMMEDIATE,
  RECORD_USED,
} from './op-record.js';
import type { KnownShape, RegionBlock } from './region.js';
import {
  NODE_NEXT_FLAGS_DEAD,
  NODE_TAKEN_FLAGS_DEAD,
  REGION_DATA_PAGES,
  type RegionRequest,
} from './region-request.js';
import { RegionCount } from './region-count.js';
import type { RegionHandlerModule, RegisterUse } from './region-state.js';

/** From the start of an instruction that crosses into another page to a byte in that page, at the most. */
const CROSSING_REACH = 15;

export interface RegionData {
  readonly links: number;
  readonly extraPages: number;
}

export class RegionEmitter extends RegionCount {
  readonly #blocks: readonly RegionBlock[];
  readonly #flow: FlowGraph;
  readonly #flags: FlagLiveness;
  /** Labels of enclosing loops and merge blocks by node. */
  readonly #labels = new Map<number, Label>();
  readonly #links = new Map<number, number>();
  /** Checks that were made by the end of each node; see {@link Emitter.checkOnce}. */
  readonly #checkedAt = new Map<number, Set<string>>();
  readonly #target: number;
  readonly #exitDelta: number;
  readonly #exitLink: number;
  readonly #linkSite: number;
  readonly #extraPages: number;
  readonly #pageOffset: number;
  #exitLabel: Label | undefined;
  #indirectLabel: Label | undefined;
  #block: RegionBlock;
  #node = 0;

  constructor(
    blocks: readonly RegionBlock[],
    request: RegionRequest,
    module: RegionHandlerModule,
    use: RegisterUse,
  ) {
    super(module, request.view, use);
    this.#blocks = blocks;
    this.#extraPages = request.extraPages;
    this.#pageOffset = request.pageOffset;
    const successors = blocks.map(({ taken, next, targets }) =>
      [...new Set([taken, next, ...targets])].filter((node) => node >= 0),
    );
    this.#flow = analyzeFlow(successors);
    const kept = successors.map((list, from) =>
      list.filter((to) => !this.#flow.cut.has(from * blocks.length + to)),
    );
    this.#flags = flagLiveness(blocks, kept);
    this.#block = blocks[0]!;
    this.#target = this.code.local('i64');
    this.#exitDelta = this.code.local('i32');
    this.#exitLink = this.code.local('i32');
    this.#linkSite = this.code.local('i32');
  }

  /** The function's body. */
  emit(): CodeBody {
    // The compiler calls it with 0 to have its machine code made in time.
    this.branchOn(this.eqz(this.cpu), () => {
      this.code.i32Const(0);
      this.code.return();
    });
    super.push(this.loadArena(this.cpu, 'i64.load', 'i64', BLOCK_RIP));
    this.code.set(this.headRip);
    super.push(this.record);
    this.code.i32Const(1);
    this.code.memory('i32.store', RECORD_USED);
    this.loadAll();
    if (this.#block.counted > 0) this.startCount();
    this.leaveLabel = this.#open();
    this.#indirectLabel = this.#open();
    this.#exitLabel = this.#open();
    this.#tree(0);
    this.code.unreachable();
    this.#close();
    this.#findTarget();
    this.#close();
    this.#emitExit();
    this.#close();
    this.storeAll();
    super.push(this.fromLocal(this.status, 'i32'));
    this.code.return();
    return this.code.finish();
  }

  /** What the region needs beside its code, after {@link emit}. */
  get data(): RegionData {
    return { links: this.#links.size, extraPages: this.#extraPages };
  }

  #open(): Label {
    this.code.block();
    this.depth++;
    return { depth: this.depth };
  }

  #close(): void {
    this.depth--;
    this.code.end();
  }

  /** Behind direct exits: their target, and where its link is when it may have one. */
  #findTarget(): void {
    super.push(
      this.add(this.fromLocal(this.headRip, 'i64'), this.extendS(this.fromLocal(this.#exitDelta, 'i32'))),
    );
    this.code.set(this.#target);
    const link = this.fromLocal(this.#exitLink, 'i32');
    this.branchOn(link, () => {
      super.push(this.add(this.#dataPointer(), link));
      this.code.set(this.#linkSite);
    });
  }

  /** All ways out to other code: by a link, else by the jump cache, else by the run loop. */
  #emitExit(): void {
    const target = this.fromLocal(this.#target, 'i64');
    const linkSite = this.fromLocal(this.#linkSite, 'i32');
    this.storeAll();
    this.branchOn(super.getState('i32', PENDING), () => {
      super.setState('i64', RIP, target);
      this.#returnNow(EXIT_PENDING);
    });
    this.branchOn(linkSite, () => {
      super.push(linkSite);
      this.code.memory('i32.load', 0);
      const link = this.take('i32');
      this.branchOn(link, () => {
        super.setState('i64', BLOCK_RIP, target);
        this.goTo(link);
      });
    });
    const entry = this.add(super.getState('i32', JUMP_CACHE_BASE), this.jumpCacheOffset(target));
    super.push(entry);
    this.code.memory('i64.load', 0);
    this.branchOn(this.eq(this.take('i64'), target), () => {
      super.setState('i64', BLOCK_RIP, target);
      const found = this.loadArena(entry, 'i32.load', 'i32', JUMP_CACHE_RECORD);
      const linkable = this.loadArena(entry, 'i32.load', 'i32', JUMP_CACHE_LINKABLE);
      // As in the interpreter's dispatch: no link to a block that was dropped.
      const live = this.ne(
        this.loadArena(found, 'i32.load', 'i32', RECORD_HANDLER),
        this.i32(HANDLER_INVALID),
      );
      this.branchOn(this.and(this.and(this.ne(linkSite, this.i32(0)), linkable), live), () => {
        super.push(linkSite);
        super.push(found);
        this.code.memory('i32.store', 0);
      });
      this.goTo(found);
    });
    super.setState('i64', RIP, target);
    super.setState('i32', LINK_SITE, linkSite);
    super.push(this.record);
    super.push(this.cpu);
    this.code.returnCall(this.secondWay);
  }

  #returnNow(exit: number): void {
    this.code.i32Const(exit);
    this.code.return();
  }

  // Structure.

  #tree(node: number): void {
    const inside = this.#flow.dominated.get(node)!.filter((child) => this.#flow.merges.has(child));
    // The last in the order is reached from the most places: outermost.
    inside.sort((a, b) => this.#flow.position.get(b)! - this.#flow.position.get(a)!);
    if (!this.#flow.loopHeaders.has(node)) {
      this.#within(node, inside);
      return;
    }
    this.code.loop();
    this.depth++;
    this.#labels.set(node, { depth: this.depth });
    this.#within(node, inside);
    this.depth--;
    this.code.end();
  }

  #within(node: number, merges: readonly number[]): void {
    const [outer, ...rest] = merges;
    if (outer === undefined) {
      this.#emitBlock(node);
      return;
    }
    this.code.block();
    this.depth++;
    this.#labels.set(outer, { depth: this.depth });
    this.#within(node, rest);
    this.depth--;
    this.code.end();
    this.#tree(outer);
  }

  #emitBlock(node: number): void {
    const block = this.#blocks[node]!;
    this.#node = node;
    this.#block = block;
    this.delta = block.delta;
    const above = this.use.checksChange ? undefined : this.#checkedAt.get(this.#flow.dominator.get(node)!);
    this.checked = new Set(above);
    this.#checkedAt.set(node, this.checked);
    this.dropFlags();
    this.left = false;
    this.countBlock(block);
    for (const [i, instruction] of block.instructions.entries()) {
      if (!this.#flags.before(node, i)) this.dropFlags();
      this.recordOffset = instruction.record;
      this.countInstruction(instruction.record);
      this.left = false;
      if (instruction.known === undefined) this.#edge(block.next, LINK_NEXT_DELTA, NODE_NEXT_FLAGS_DEAD);
      else this.#emitInstruction(instruction.known);
      if (this.left) break;
    }
    if (!this.left) this.#leaveAfter();
  }

  #emitInstruction({ shape, entry }: KnownShape): void {
    this.shape = shape;
    this.wroteSlow = false;
    entry.sem(this, new InterpreterOperands(this, shape));
    if (shape.fusedCondition !== undefined) this.fusedJump(shape.fusedCondition);
    // A write on the slow path may have dropped this region: the next instruction may be another now.
    if (this.wroteSlow && !this.left) this.branchOn(this.isStale(), () => this.#leaveAfter());
  }

  /** Leaves with RIP behind the current instruction. */
  #leaveAfter(): void {
    super.setState('i64', RIP, this.nextIp());
    this.leaveBehind(EXIT_LOOKUP);
  }

  /** Goes on with a node, or where the record's link says when it is −1. */
  #edge(node: number, deltaOffset: number, deadBit: number): void {
    const from = this.#node;
    if (node < 0 || this.#flow.cut.has(from * this.#blocks.length + node)) {
      const delta = this.#block.delta + this.view.getInt32(this.recordOffset + deltaOffset, true);
      this.#leaveTo(delta, (this.#block.bits & deadBit) !== 0);
      return;
    }
    this.#enterNode(node);
  }

  #enterNode(node: number): void {
    const from = this.#node;
    const back = this.#flow.position.get(node)! <= this.#flow.position.get(from)!;
    if (back) this.#poll(this.#blocks[node]!.delta);
    if (this.wroteSlow) this.branchOn(this.isStale(), () => this.#leaveTo(this.#blocks[node]!.delta, false));
    this.#checkPages(node);
    if (this.#flags.atStart(node)) this.commitFlags();
    const label = this.#labels.get(node);
    if (label !== undefined && (back || this.#flow.merges.has(node))) this.#jump(label);
    else this.#inline(node);
    this.left = true;
  }

  /** Emits a node here that only this edge reaches; comes back to the block that the edge is in. */
  #inline(node: number): void {
    const { shape, recordOffset, delta, checked } = this;
    const saved = [this.#block, this.#node] as const;
    this.onOneWay(() => this.keepCount(() => this.#tree(node)));
    [this.#block, this.#node] = saved;
    this.shape = shape;
    this.recordOffset = recordOffset;
    this.delta = delta;
    this.checked = checked;
  }

  /** Back edges see pending work. */
  #poll(delta: number): void {
    this.branchOn(super.getState('i32', PENDING), () => this.#leaveTo(delta, false));
  }

  /** Into another page only while it is mapped where it was when the region was formed. */
  #checkPages(node: number): void {
    const { page, secondPage, delta } = this.#blocks[node]!;
    if (page !== 0 && page !== this.#block.page) this.#checkPage(page, this.ripAt(delta), delta);
    // A block that crosses into another page is one instruction; its last byte lies there.
    if (secondPage > 0 && secondPage - 1 !== 0)
      this.#checkPage(secondPage - 1, this.ripAt(delta + CROSSING_REACH), delta);
  }

  #checkPage(page: number, within: Value, delta: number): void {
    const linear = this.and(within, this.i64(-4096));
    const index = this.and(this.wrap(this.shrU(linear, this.i64(12))), this.i32(CODE_TLB_ENTRIES - 1));
    const entry = this.add(super.getState('i32', JUMP_CACHE_BASE), this.shl(index, this.i32(4)));
    super.push(entry);
    this.code.memory('i64.load', CODE_TLB);
    const sameLinear = this.eq(this.take('i64'), linear);
    super.push(entry);
    this.code.memory('i32.load', CODE_TLB + CODE_TLB_PAGE);
    const mapped = this.take('i32');
    super.push(this.#dataPointer());
    this.code.memory('i32.load', (REGION_DATA_PAGES + page - 1) * 4);
    const wanted = this.take('i32');
    this.branchOn(this.eqz(this.and(sameLinear, this.eq(mapped, wanted))), () => this.#leaveTo(delta, false));
  }

  #dataPointer(): Value {
    super.push(this.record);
    this.code.memory('i32.load', RECORD_IMMEDIATE);
    return this.take('i32');
  }

  #pageOf(delta: number): number {
    return Math.floor((this.#pageOffset + delta) / 4096);
  }

  /** Out to a place at a distance from the region's start: by a link where that lies in this block's page, which is mapped. */
  #leaveTo(delta: number, flagsDead: boolean): void {
    if (!flagsDead) this.onOneWay(() => this.commitFlags());
    this.#setConstant(this.#exitDelta, delta);
    this.#setConstant(this.#exitLink, this.#linkOffset(delta));
    this.#jump(this.#exitLabel!);
    this.left = true;
  }

  #setConstant(local: number, value: number): void {
    this.code.i32Const(value);
    this.code.set(local);
  }

  /** Byte offset of the link to a place in the region's data; 0 when there must be none. */
  #linkOffset(delta: number): number {
    if (this.#pageOf(delta) !== this.#pageOf(this.#block.delta)) return 0;
    let link = this.#links.get(delta);
    if (link === undefined) this.#links.set(delta, (link = this.#links.size));
    return (REGION_DATA_PAGES + this.#extraPages + link) * 4;
  }

  #jump(label: Label): void {
    this.code.br(this.depth - label.depth);
  }

  override jumpDirect(): void {
    this.#edge(this.#block.taken, LINK_TAKEN_DELTA, NODE_TAKEN_FLAGS_DEAD);
  }

  override jumpDirectIf(condition: Value): void {
    this.branchOn(condition, () =>
      this.onOneWay(() => this.#edge(this.#block.taken, LINK_TAKEN_DELTA, NODE_TAKEN_FLAGS_DEAD)),
    );
    this.#edge(this.#block.next, LINK_NEXT_DELTA, NODE_NEXT_FLAGS_DEAD);
  }

  override fusedJump(cc: number): void {
    this.jumpDirectIf(this.condition(cc));
  }

  override jumpIndirect(target: Value, _bits: OperandBits): void {
    const { targets } = this.#block;
    const from = this.#node * this.#blocks.length;
    for (const node of targets) {
      if (this.#flow.cut.has(from + node)) continue;
      const expected = this.ripAt(this.#blocks[node]!.delta);
      this.branchOn(this.eq(target, expected), () => this.onOneWay(() => this.#enterNode(node)));
    }
    this.onOneWay(() => this.commitFlags());
    super.push(target);
    this.code.set(this.#target);
    this.#jump(this.#indirectLabel!);
    this.left = true;
  }

  override followNext(): void {
    throw new Error('a region has no internal handlers');
  }
}
