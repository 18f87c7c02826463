// The generated page walk, TLB fill and missed accesses against the TypeScript that describes them: the same accesses over the same
// tables, in two arenas, one of which tries the routines first. All of both arenas is then the same: entries' accessed and dirty
// bits, the TLB and its lists, the code map, RAM, the fault.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CodeMap, codeMapBytes } from '#shared/memory/code-map.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import { TLB_BYTES } from '#shared/translate/op-record.js';
import { routineBody, routineParameters } from '#shared/translate/routine.js';
import { ModuleWriter } from '#shared/wasm/module-writer.js';
import * as S from '#shared/x86/cpu-state.js';
import { AC } from '#shared/x86/rflags.js';
import { MEMORY_MISS_ROUTINES, MISS_SLOW } from '#shared/x86/routines/memory-miss.js';
import { PAGE_WALK_ROUTINES } from '#shared/x86/routines/page-walk.js';
import { GuestFault } from '#actors/vcpu/engine-wasm/cpu-context.js';
import { Mmu } from '#actors/vcpu/engine-wasm/mmu.js';
import { SET_SUPERVISOR, SET_SUPERVISOR_SMAP_OFF, SET_USER, Tlb } from '#actors/vcpu/engine-wasm/tlb.js';

const PAGE = 4096;
const STATE = PAGE;
const TLB = 2 * PAGE;
const CODE_MAP = TLB + Math.ceil(TLB_BYTES / PAGE) * PAGE;
const LOW_PAGES = 12;
const HIGH_PAGES = 3;
const RAM_PAGES = LOW_PAGES + HIGH_PAGES;
const RAM = CODE_MAP + PAGE;
const WASM_PAGES = Math.ceil((RAM + RAM_PAGES * PAGE) / 65536);
const VCPU = 5;
const HIGH = 2n ** 32n;

type Verb = 'read' | 'write' | 'modify';
type Routine = (cpu: number, linear: bigint, argument: number) => number;

const writer = new ModuleWriter({ initial: 1, maximum: 65536 });
const indices = new Map<string, number>();
for (const [name, routine] of Object.entries({ ...PAGE_WALK_ROUTINES, ...MEMORY_MISS_ROUTINES })) {
  const body = routineBody(routine, (called) => indices.get(called)!);
  indices.set(name, writer.function(writer.type(routineParameters(routine), ['i32']), name, body, true));
}
const module = new WebAssembly.Module(writer.finish());

interface Step {
  readonly verb: Verb;
  readonly linear: bigint;
  readonly bytes: number;
  readonly lock: boolean;
  readonly user: boolean;
  readonly ac: boolean;
  readonly flush: 'none' | 'local' | 'page';
}

interface Machine {
  readonly cr0: number;
  readonly cr4: number;
  readonly efer: number;
  /** Tables at pages 0–3 of RAM: entry by level and index. */
  readonly entries: readonly (readonly [level: number, index: number, entry: bigint])[];
  readonly codePages: readonly number[];
}

/** An arena with one vCPU's MMU, and the routines over it. */
class Side {
  readonly memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: 65536, shared: true });
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly i32 = new Int32Array(this.memory.buffer);
  readonly view = new DataView(this.memory.buffer);
  readonly routines = new WebAssembly.Instance(module, { env: { memory: this.memory } })
    .exports as unknown as Readonly<Record<string, Routine>>;
  readonly #tlb: Tlb;
  readonly #mmu: Mmu;
  /** Accesses that the routines did alone. */
  alone = 0;

  constructor(machine: Machine) {
    const ram = new GuestMemory(this.memory, {
      ramOffset: RAM,
      lowBytes: LOW_PAGES * PAGE,
      highBytes: HIGH_PAGES * PAGE,
    });
    const state = { offset: STATE, bytes: PAGE };
    const map = { offset: CODE_MAP, bytes: codeMapBytes(RAM_PAGES * PAGE) };
    const codeMap = new CodeMap(this.i32, map, RAM, [state]);
    this.#tlb = new Tlb(this.u8, this.i32, { offset: TLB, bytes: TLB_BYTES });
    this.#tlb.announceRam(ram.layout, codeMap, VCPU);
    const bus = { low: 0x1234, high: 0x5678, read: () => undefined, write: () => undefined };
    this.#mmu = new Mmu({
      ...{ u8: this.u8, i32: this.i32, view: this.view, state, ram, tlb: this.#tlb, codeMap, bus },
      vcpu: VCPU,
      lockWord: 0,
      onOwnCodeWrite: () => undefined,
    });
    for (let i = 0; i < 16; i++) this.u8[STATE + S.SLOW_DATA + i] = 0xc0 + i;
    this.#setWord(S.CR0, machine.cr0);
    this.#setWord(S.CR4, machine.cr4);
    this.#setWord(S.EFER, machine.efer);
    this.#setWord(S.WALKED_TLB, TLB);
    for (const [level, index, entry] of machine.entries)
      this.view.setBigUint64(RAM + (3 - level) * PAGE + index * 8, entry, true);
    for (const page of machine.codePages) codeMap.claim(RAM + page * PAGE, 64, VCPU);
  }

  #setWord(offset: number, value: number): void {
    this.view.setInt32(STATE + offset, value, true);
  }

  #misses(low: number, high: number, step: Step): boolean {
    const set = step.user ? SET_USER : step.ac ? SET_SUPERVISOR_SMAP_OFF : SET_SUPERVISOR;
    return (low & 4095) + step.bytes > PAGE || this.#tlb.find(set, low, high, step.verb !== 'read') < 0;
  }

  /** What the access gave: nothing, or its fault. */
  run(step: Step, tryRoutines: boolean): string {
    const low = Number(BigInt.asIntN(32, step.linear));
    const high = Number(BigInt.asIntN(32, step.linear >> 32n));
    if (step.flush === 'local') this.#tlb.flushLocal();
    if (step.flush === 'page') this.#tlb.drop(low, high);
    this.#setWord(S.CPL, step.user ? 3 : 0);
    this.#setWord(S.RFLAGS_SYSTEM, step.ac ? AC : 0);
    if (!this.#misses(low, high, step)) return 'hit';
    this.view.setBigInt64(STATE + S.SLOW_ADDRESS, step.linear, true);
    const argument = step.bytes | (step.verb === 'modify' && step.lock ? 0x100 : 0);
    return step.verb === 'modify'
      ? this.#modify(step.linear, argument, tryRoutines)
      : this.#access(step.verb, step.linear, argument, tryRoutines);
  }

  #try(name: string, linear: bigint, argument: number, tryRoutines: boolean): string | undefined {
    const status = tryRoutines ? this.routines[name]!(STATE, linear, argument) : MISS_SLOW;
    if (status === MISS_SLOW) return undefined;
    this.alone++;
    const word = (offset: number): number => this.view.getInt32(STATE + offset, true);
    if (status === S.EXIT_NONE) return 'done';
    expect(status).toBe(S.EXIT_EXCEPTION);
    return `#${word(S.EXCEPTION_VECTOR)} ${word(S.EXCEPTION_ERROR_CODE)}`;
  }

  #describe(work: () => void): string {
    try {
      work();
      return 'done';
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      this.#mmu.abandon();
      return `#${fault.vector} ${fault.errorCode}`;
    }
  }

  #access(verb: 'read' | 'write', linear: bigint, argument: number, tryRoutines: boolean): string {
    const slow = (): void =>
      verb === 'read' ? this.#mmu.slowRead(0, argument) : this.#mmu.slowWrite(0, argument);
    const name = verb === 'read' ? 'missRead' : 'missWrite';
    return this.#try(name, linear, argument, tryRoutines) ?? this.#describe(slow);
  }

  #modify(linear: bigint, argument: number, tryRoutines: boolean): string {
    const begun =
      this.#try('missModifyBegin', linear, argument, tryRoutines) ??
      this.#describe(() => this.#mmu.slowModifyBegin(0, argument));
    if (begun !== 'done') return begun;
    const at = this.view.getUint32(STATE + S.HELPER_ARG0, true);
    this.u8[at] = (this.u8[at]! + 1) & 0xff;
    return (
      this.#try('missModifyEnd', linear, argument, tryRoutines) ??
      this.#describe(() => this.#mmu.slowModifyEnd(0, argument))
    );
  }

  /** All that an access may change, what tells the two ways apart left out. */
  image(): Buffer {
    const copy = Buffer.from(this.u8);
    copy.fill(0, STATE + S.EXCEPTION_VECTOR, STATE + S.SLOW_DATA);
    copy.fill(0, STATE + S.MODIFIES_DIRECTLY, STATE + S.MODIFIES_DIRECTLY + 4);
    return copy;
  }
}

const INDICES = [0, 1, 256, 511] as const;
const index = fc.constantFrom(...INDICES);
const bit = (value: bigint, weight: number): fc.Arbitrary<bigint> =>
  fc.oneof({ weight, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: fc.constant(0n) });
const rarely = (value: bigint): fc.Arbitrary<bigint> =>
  fc.oneof({ weight: 40, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: fc.constant(value) });

/** P RW US A D G; PS above level 0, reserved bits and NX rarely. */
const flagsAt = (level: number): fc.Arbitrary<bigint> =>
  fc
    .tuple(
      ...[bit(1n, 12), bit(2n, 4), bit(4n, 4), bit(0x20n, level === 0 ? 1 : 12), bit(0x40n, 1)],
      ...[bit(0x100n, 1), level > 0 && level < 3 ? bit(0x80n, 1) : rarely(0x80n)],
      ...[rarely(1n << 45n), rarely(1n << 63n), rarely(0x2000n)],
    )
    .map((bits) => bits.reduce((all, one) => all | one, 0n));

/** Of data: low and high RAM, the hole between, outside. Large pages begin at 0, at 4 GiB or in the hole. */
const frame = fc.constantFrom(
  ...[4, 5, 6, 7, LOW_PAGES - 1, LOW_PAGES].map((page) => BigInt(page * PAGE)),
  ...[HIGH, HIGH + 0x1000n, HIGH + BigInt(HIGH_PAGES * PAGE)],
);
const largeFrame = fc.constantFrom(0n, HIGH, 0x4000_0000n);

const entry = fc.tuple(fc.constantFrom(0, 0, 0, 1, 1, 2, 2, 3, 3), index).chain(([level, at]) =>
  fc.tuple(flagsAt(level), frame, largeFrame).map(([flags, small, large]) => {
    const table = BigInt((3 - level + 1) * PAGE);
    const address = level === 0 ? small : (flags & 0x80n) !== 0n ? large : table;
    return [level, at, flags | address] as const;
  }),
);

const machine: fc.Arbitrary<Machine> = fc.record({
  cr0: bit(1n << 16n, 3).map((wp) => Number(wp) | 0x80000001 | 0),
  cr4: fc.tuple(bit(1n << 7n, 3), bit(1n << 21n, 1)).map(([pge, smap]) => Number(pge | smap) | 0x20),
  efer: bit(1n << 11n, 5).map((nxe) => Number(nxe) | 0x500),
  // Later ones replace those before: the tables' usual entries first.
  entries: fc.array(entry, { maxLength: 24 }).map((more) => [...USUAL, ...more]),
  codePages: fc.uniqueArray(fc.integer({ min: 4, max: RAM_PAGES - 1 }), { maxLength: 3 }),
});
const USUAL: Machine['entries'] = INDICES.flatMap((at, i) => [
  [3, at, BigInt(PAGE) | 0x27n] as const,
  [2, at, BigInt(2 * PAGE) | 0x27n] as const,
  [1, at, BigInt(3 * PAGE) | 0x27n] as const,
  [0, at, BigInt((4 + i) * PAGE) | 0x127n] as const,
]);

const linear = fc
  .tuple(
    index,
    index,
    index,
    index,
    fc.oneof(
      fc.integer({ min: 0, max: 511 }).map((n) => n * 8),
      fc.constantFrom(4090, 4093, 4095, 1, 2),
    ),
  ) // prettier-ignore
  .map(([a, b, c, d, offset]) => {
    const address = [a, b, c, d].reduce((all, one) => (all << 9n) | BigInt(one), 0n) * BigInt(PAGE);
    return BigInt.asIntN(48, address) + BigInt(offset);
  });
const step: fc.Arbitrary<Step> = fc.record({
  verb: fc.constantFrom<Verb[]>('read', 'write', 'modify'),
  linear: fc.oneof(
    { weight: 30, arbitrary: linear },
    { weight: 1, arbitrary: linear.map((address) => address ^ (1n << 50n)) },
  ),
  bytes: fc.constantFrom(1, 2, 4, 8),
  lock: fc.boolean(),
  user: fc.boolean(),
  ac: fc.boolean(),
  flush: fc.constantFrom('none', 'none', 'none', 'local', 'page'),
});

describe('the generated page walk', () => {
  test('leaves what the one in TypeScript leaves', () => {
    let alone = 0;
    let all = 0;
    let faults = 0;
    fc.assert(
      fc.property(machine, fc.array(step, { minLength: 1, maxLength: 12 }), (m, steps) => {
        const described = new Side(m);
        const generated = new Side(m);
        for (const s of steps) {
          const expected = described.run(s, false);
          expect(generated.run(s, true)).toBe(expected);
          if (expected !== 'hit') all++;
          if (expected.startsWith('#14')) faults++;
        }
        expect(generated.image().equals(described.image())).toBe(true);
        alone += generated.alone;
      }),
      { numRuns: 300 },
    );
    expect(alone).toBeGreaterThan(all / 3);
    expect(faults).toBeGreaterThan(50);
  });

  test('does nothing while it is not allowed to walk', () => {
    const side = new Side({ cr0: 0x80010001 | 0, cr4: 0x20, efer: 0x500, entries: USUAL, codePages: [] });
    side.view.setInt32(STATE + S.WALKED_TLB, 0, true);
    const before = side.image();
    expect(side.routines['missRead']!(STATE, 0n, 8)).toBe(MISS_SLOW);
    expect(side.image().equals(before)).toBe(true);
  });
});
