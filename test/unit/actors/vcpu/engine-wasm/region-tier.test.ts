// Compiled regions as running code: over page borders, when code changes under them, when a page is mapped anew, when too many live.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BareMachine } from '#actors/vcpu/bare-machine.js';
import { CodeMap } from '#shared/memory/code-map.js';
import { LocalCompiler } from '#shared/translate/local-compiler.js';
import { ShapeIndex } from '#shared/translate/region.js';
import { RECORD_BYTES } from '#shared/translate/op-record.js';
import {
  NODE_NEXT_FLAGS_DEAD,
  type RegionNode,
  type RegionRequest,
  encodeRegionRequest,
  headHashOf,
} from '#shared/translate/region-request.js';
import type { CompiledModule, RegionService } from '#shared/translate/region-service.js';
import * as S from '#shared/x86/cpu-state.js';
import { ROUTINES, SEMANTICS } from '#shared/x86/semantics/index.js';
import { loadInterpreterImage } from '#actors/vcpu/engine-wasm/create-engine.js';

const CODE = 0x40_0000n;
const DATA = 0x80_0000n;
const PAGE = 4096n;
const HLT = 0xf4;
const TURNS = 50;

const imm32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

let m: BareMachine;

function prepare(maxRegions?: number, service?: RegionService, heat = 1): void {
  m = new BareMachine(8 << 20, heat, {
    ...(maxRegions !== undefined && { maxRegions }),
    regionService: service,
  });
  m.prepare(64, 0);
  m.map(CODE, 64 * 4096);
  m.map(DATA, 4096);
}

beforeEach(() => prepare());

function run(address: bigint): void {
  m.setState64(S.RIP, address);
  expect(m.run()).toEqual({ kind: 'halted' });
}

/** Entries into generated code while `run` runs. */
function entries(work: () => void): number {
  const count = (): number => m.created.engine.exits.reduce((sum, n) => sum + n, 0);
  const before = count();
  work();
  return count() - before;
}

const rax = (): bigint => m.getState64(S.RAX);
const regions = () => m.created.engine.regions;

/** mov ecx, TURNS; xor eax, eax; L: add eax, `step`; dec ecx; jnz L; hlt */
function loop(step: number): number[] {
  const head = [0xb9, ...imm32(TURNS), 0x31, 0xc0];
  const body = [0x05, ...imm32(step), 0xff, 0xc9];
  return [...head, ...body, 0x75, 0x100 - body.length - 2, HLT];
}

describe('a loop', () => {
  // The border falls before, inside and behind every instruction of the loop.
  test.each(Array.from({ length: 20 }, (_, i) => i))(
    'runs across a page border %i bytes from its start',
    (at) => {
      const start = CODE + PAGE - BigInt(at);
      m.write(start, Uint8Array.from(loop(3)));
      run(start);
      expect(rax()).toBe(BigInt(3 * TURNS));
      expect(regions().installed).toBeGreaterThan(0);
    },
  );

  test('calls a function in another page that is taken into it', () => {
    const callee = CODE + 5n * PAGE + 0x20n;
    const displacement = Number(callee - (CODE + 12n));
    // mov ecx, TURNS; xor eax, eax; L: call callee; dec ecx; jnz L; hlt
    const code = [
      0xb9,
      ...imm32(TURNS),
      0x31,
      0xc0,
      0xe8,
      ...imm32(displacement),
      0xff,
      0xc9,
      0x75,
      0xf7,
      HLT,
    ];
    m.write(CODE, Uint8Array.from(code));
    m.write(callee, Uint8Array.from([0x83, 0xc0, 0x07, 0xc3])); // add eax, 7; ret
    m.setState64(S.RSP, DATA + 0x800n);
    run(CODE);
    expect(rax()).toBe(BigInt(7 * TURNS));
  });
});

test('blocks that a region covers do not ask for their own while it is made', () => {
  let asked = 0;
  prepare(undefined, { submit: () => ++asked > 0, take: () => undefined }, 10);
  // mov ecx, 15; L: inc eax; jmp M; M: inc eax; jmp N; N: dec ecx; jnz L; hlt
  const body = [0xff, 0xc0, 0xeb, 0, 0xff, 0xc0, 0xeb, 0, 0xff, 0xc9];
  m.write(CODE, Uint8Array.from([0xb9, ...imm32(15), ...body, 0x75, 0x100 - body.length - 2, HLT]));
  run(CODE);
  expect(asked).toBe(1);
});

describe('an indirect branch', () => {
  const table = DATA + 0x100n;
  const bytes64 = (value: bigint): number[] =>
    Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));

  /** mov ecx, TURNS; xor eax, eax; L: mov edx, ecx; and edx, `mask`; `branch` [rdx * 8 + table]; N: dec ecx; jnz L; hlt */
  function program(mask: number, modrm: number): number[] {
    const head = [0xb9, ...imm32(TURNS), 0x31, 0xc0];
    const body = [0x89, 0xca, 0x83, 0xe2, mask, 0xff, modrm, 0xd5, ...imm32(Number(table)), 0xff, 0xc9];
    return [...head, ...body, 0x75, 0x100 - body.length - 2, HLT];
  }

  const target = (i: number): bigint => CODE + 0x100n + BigInt(i) * 0x20n;

  function prepareTargets(count: number, end: (i: number) => number[]): void {
    for (let i = 0; i < count; i++) {
      m.write(target(i), Uint8Array.from([0x05, ...imm32(10 ** i), ...end(i)])); // add eax, 10^i
      m.write(table + BigInt(i) * 8n, Uint8Array.from(bytes64(target(i))));
    }
    m.setState64(S.RSP, DATA + 0x800n);
  }

  const expected = (count: number): bigint => {
    let sum = 0;
    for (let i = 1; i <= TURNS; i++) sum += 10 ** (i & (count - 1));
    return BigInt(sum);
  };

  test.each([1, 2, 4])('calls %i functions', (count) => {
    prepareTargets(count, () => [0xc3]);
    m.write(CODE, Uint8Array.from(program(count - 1, 0x14)));
    for (let i = 0; i < 5; i++) {
      run(CODE);
      expect(rax()).toBe(expected(count));
    }
    expect(regions().installed).toBeGreaterThan(0);
  });

  test.each([1, 2, 4])('jumps to %i places', (count) => {
    const behind = CODE + 7n + 12n;
    prepareTargets(count, (i) => [0xe9, ...imm32(Number(behind - (target(i) + 10n)))]); // jmp N
    m.write(CODE, Uint8Array.from(program(count - 1, 0x24)));
    for (let i = 0; i < 5; i++) {
      run(CODE);
      expect(rax()).toBe(expected(count));
    }
    expect(regions().installed).toBeGreaterThan(0);
  });

  test('goes elsewhere when the table changes', () => {
    prepareTargets(4, () => [0xc3]);
    m.write(CODE, Uint8Array.from(program(1, 0x14)));
    for (let i = 0; i < 5; i++) run(CODE);
    expect(rax()).toBe(expected(2));
    for (const i of [0, 1]) m.write(table + BigInt(i) * 8n, Uint8Array.from(bytes64(target(i + 2))));
    run(CODE);
    expect(rax()).toBe(expected(2) * 100n);
    expect(entries(() => run(CODE))).toBeGreaterThan(0);
  });
});

test('repeated strings do in a region what single elements would', () => {
  const BYTES = 3 * 4096;
  m.map(DATA, BYTES);
  const initial = Uint8Array.from({ length: BYTES }, (_, i) => (i * 167 + (i >> 8) * 13) & 0xff);
  const property = (store: boolean, shift: number, from: number, to: number, count: number, fill: bigint) => {
    const bytes = 1 << shift;
    const opcode = (store ? 0xaa : 0xa4) + (shift === 0 ? 0 : 1);
    m.write(
      CODE,
      Uint8Array.from([...(shift === 1 ? [0x66] : []), 0xf3, ...(shift === 3 ? [0x48] : []), opcode, HLT]),
    );
    m.created.mmu.noteWrite(m.arenaOffset(CODE), 8);
    m.write(DATA, initial);
    m.setState64(S.RSI, DATA + BigInt(from));
    m.setState64(S.RDI, DATA + BigInt(to));
    m.setState64(S.RCX, BigInt(count));
    m.setState64(S.RAX, fill);
    run(CODE);
    const model = initial.slice();
    for (let i = 0; i < count * bytes; i += bytes)
      for (let byte = 0, at = to + i; byte < bytes; byte++)
        if (store) model[at + byte] = Number((fill >> BigInt(byte * 8)) & 255n);
    if (!store)
      for (let i = 0; i < count * bytes; i += bytes) model.copyWithin(to + i, from + i, from + i + bytes);
    expect(Buffer.compare(m.read(DATA, BYTES), model)).toBe(0);
    const length = BigInt(count * bytes);
    expect([S.RCX, S.RDI, S.RSI].map((slot) => m.getState64(slot))).toEqual([
      0n,
      DATA + BigInt(to) + length,
      DATA + BigInt(from) + (store ? 0n : length),
    ]);
  };
  const places = fc.oneof(fc.nat(0x1700), fc.integer({ min: 0xfe0, max: 0x1020 }));
  const fills = fc.oneof(fc.constantFrom(0n, 0x9090_9090_9090_9090n), fc.bigInt(0n, (1n << 64n) - 1n));
  fc.assert(fc.property(fc.boolean(), fc.nat(3), places, places, fc.nat(800), fills, property), {
    numRuns: 60,
  });
  expect(regions().installed).toBeGreaterThan(0);
});

describe('code that changes', () => {
  test('runs as it is now, whoever wrote it', () => {
    for (const step of [1, 2, 5]) {
      m.write(CODE, Uint8Array.from(loop(step)));
      m.created.mmu.noteWrite(m.arenaOffset(CODE), 32);
      run(CODE);
      expect(rax()).toBe(BigInt(step * TURNS));
    }
  });

  test('may change itself inside a region', () => {
    // mov ecx, TURNS; xor eax, eax; L: inc dword [rip + 0] (the next immediate); add eax, 0; dec ecx; jnz L; hlt
    const body = [0xff, 0x05, ...imm32(1), 0x05, ...imm32(0), 0xff, 0xc9];
    m.write(
      CODE,
      Uint8Array.from([0xb9, ...imm32(TURNS), 0x31, 0xc0, ...body, 0x75, 0x100 - body.length - 2, HLT]),
    );
    run(CODE);
    expect(rax()).toBe(BigInt((TURNS * (TURNS + 1)) / 2));
  });

  // SDM vol. 3 §9.1.3: who serialises after another processor (here: a device) wrote code runs what was written.
  test('runs as another wrote it once CPUID has serialised, in a region that holds both', () => {
    const callee = CODE + 5n * PAGE;
    const displacement = Number(callee - (CODE + 14n));
    // mov esi, TURNS; xor edi, edi; L: cpuid; call callee; dec esi; jnz L; mov eax, edi; hlt
    const body = [0x0f, 0xa2, 0xe8, ...imm32(displacement), 0xff, 0xce];
    const end = [0x75, 0x100 - body.length - 2, 0x89, 0xf8, HLT];
    m.write(CODE, Uint8Array.from([0xbe, ...imm32(TURNS), 0x31, 0xff, ...body, ...end]));
    m.write(callee, Uint8Array.from([0x81, 0xc7, ...imm32(0), 0xc3])); // add edi, 0; ret
    m.setState64(S.RSP, DATA + 0x800n);
    const immediate = m.arenaOffset(callee) + 2;
    const i32 = new Int32Array(m.memory.buffer);
    const { layout, memory } = m;
    const device = new CodeMap(i32, layout.shared.codeMap, layout.ram.ramOffset, [layout.vcpus[0]!.state]);
    const { cpu } = m.created;
    const cpuid = cpu.cpuid.bind(cpu);
    let written = 0;
    cpu.cpuid = (leaf, subleaf) => {
      new DataView(memory.buffer).setUint32(immediate, ++written, true);
      device.noteWrite(immediate, 4, -1);
      return cpuid(leaf, subleaf);
    };
    run(CODE);
    expect(written).toBe(TURNS);
    expect(rax()).toBe(BigInt((TURNS * (TURNS + 1)) / 2));
  });

  test('in another page that a region holds costs those who are linked to it nothing for long', () => {
    const callee = CODE + 5n * PAGE;
    const displacement = Number(callee - (CODE + 12n));
    // mov ecx, TURNS; xor eax, eax; L: call callee; dec ecx; jnz L; hlt
    const head = [0xb9, ...imm32(TURNS), 0x31, 0xc0];
    m.write(CODE, Uint8Array.from([...head, 0xe8, ...imm32(displacement), 0xff, 0xc9, 0x75, 0xf7, HLT]));
    m.setState64(S.RSP, DATA + 0x800n);
    const settled = [3, 4, 5].map((step) => {
      m.write(callee, Uint8Array.from([0x83, 0xc0, step, 0xc3])); // add eax, step; ret
      m.created.mmu.noteWrite(m.arenaOffset(callee), 4);
      for (let i = 0; i < 10; i++) {
        run(CODE);
        expect(rax()).toBe(BigInt(step * TURNS));
      }
      return entries(() => run(CODE));
    });
    expect(settled[1]).toBe(settled[0]);
    expect(settled[2]).toBe(settled[0]);
  });

  test('is another when its second page is mapped elsewhere', () => {
    const second = CODE + PAGE;
    const start = second - 9n; // the loop's start lies in the first page, its end in the second
    m.write(start, Uint8Array.from(loop(3)));
    run(start);
    expect(rax()).toBe(BigInt(3 * TURNS));
    // Another page with another end of the loop takes the second one's place.
    const other = CODE + 9n * PAGE;
    m.write(other, m.read(second, 4096));
    const changed = loop(4).slice(9);
    m.write(other, Uint8Array.from(changed));
    m.remap(second, other);
    m.created.cpu.invalidatePage(Number(second));
    run(start);
    const whole = [...loop(3).slice(0, 9), ...changed];
    const step = whole[8]! | (whole[9]! << 8);
    expect(rax()).toBe(BigInt(step * TURNS));
  });
});

test('regions that do not run any more are let go, and run again when they are wanted', () => {
  prepare(8);
  const at = (i: number): bigint => CODE + BigInt(i) * PAGE;
  for (let i = 0; i < 40; i++) m.write(at(i), Uint8Array.from(loop(i + 1)));
  for (let round = 0; round < 3; round++)
    for (let i = 0; i < 40; i++) {
      run(at(i));
      expect(rax()).toBe(BigInt((i + 1) * TURNS));
    }
  expect(regions().evicted).toBeGreaterThan(0);
  expect(regions().live).toBeLessThanOrEqual(8);
  expect(regions().modules).toBeLessThanOrEqual(8);
});

describe('a compiler that dies', () => {
  const shapes = new ShapeIndex(SEMANTICS, loadInterpreterImage().shapes);
  const compiler = () => new LocalCompiler(() => shapes, ROUTINES);
  const at = (i: number): bigint => CODE + BigInt(i) * 64n;

  afterEach(() => vi.restoreAllMocks());

  test('has successors whose code is not taken for its own', () => {
    let now = compiler();
    const submit: RegionService['submit'] = (ticket, request) => (now = compiler()).submit(ticket, request);
    prepare(undefined, { submit, take: () => now.take() });
    for (let i = 0; i < 10; i++) {
      m.write(at(i), Uint8Array.from(loop(i + 1)));
      run(at(i));
      expect(rax()).toBe(BigInt((i + 1) * TURNS));
    }
    expect(regions().installed).toBeGreaterThanOrEqual(10);
  });

  test('takes requests with it, which are made again', () => {
    const now = compiler();
    let lost = 0;
    const submit: RegionService['submit'] = (ticket, request) => lost++ < 100 || now.submit(ticket, request);
    prepare(undefined, { submit, take: () => now.take() });
    let time = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (time += 500));
    for (let round = 0; round < 4; round++)
      for (let i = 0; i < 80; i++) {
        m.write(at(i), Uint8Array.from(loop(i + 1)));
        run(at(i));
        expect(rax()).toBe(BigInt((i + 1) * TURNS));
      }
    expect(lost).toBeGreaterThan(100);
    expect(regions().installed).toBeGreaterThan(0);
  });

  test('or that takes none holds no vCPU up', () => {
    let asked = 0;
    prepare(undefined, { submit: () => ++asked === 0, take: () => undefined });
    m.write(CODE, Uint8Array.from(loop(3)));
    run(CODE);
    expect(rax()).toBe(BigInt(3 * TURNS));
    expect(asked).toBeLessThan(TURNS);
  });
});

describe('a region formed elsewhere', () => {
  const shapes = new ShapeIndex(SEMANTICS, loadInterpreterImage().shapes);
  const LONG = 2000;
  const HEAT = 400;

  /** Keeps what it was asked for, and offers it by its head. */
  class Keeper {
    readonly kept = new Map<number, RegionRequest>();
    submitted = 0;

    service(): RegionService {
      const compiler = new LocalCompiler(() => shapes, ROUTINES);
      const offered: CompiledModule[] = [];
      return {
        submit: (ticket, request) => {
          this.submitted++;
          this.kept.set(headHashOf(request), request);
          return compiler.submit(ticket, request);
        },
        take: () => offered.shift() ?? compiler.take(),
        offers: {
          mayHave: (head) => this.kept.has(head),
          ask: (ticket, head) => {
            const request = this.kept.get(head)!;
            compiler.submit(ticket, request);
            const made = compiler.take()!;
            const regions = made.regions.map((region) => ({ ...region, offered: request }));
            offered.push({ ...made, regions });
            return true;
          },
        },
      };
    }
  }

  /** mov ecx, LONG; xor eax, eax; L: add eax, a; jmp M; M: add eax, b; jmp N; N: add eax, c; dec ecx; jnz L; hlt */
  function path(steps: readonly number[]): Uint8Array {
    const [a, b, c] = steps as [number, number, number];
    const body = [0x05, ...imm32(a), 0xeb, 0, 0x05, ...imm32(b), 0xeb, 0, 0x05, ...imm32(c), 0xff, 0xc9];
    const head = [0xb9, ...imm32(LONG), 0x31, 0xc0];
    return Uint8Array.from([...head, ...body, 0x75, 0x100 - body.length - 2, HLT]);
  }

  const sum = (steps: readonly number[]): bigint =>
    BigInt.asUintN(32, BigInt(steps.reduce((total, step) => total + step, 0) * LONG));

  test('is taken over where the code is the same, wherever it lies', () => {
    const keeper = new Keeper();
    prepare(undefined, keeper.service(), HEAT);
    m.write(CODE, path([1, 2, 3]));
    run(CODE);
    expect([keeper.submitted, regions().adopted]).toEqual([1, 0]);
    prepare(undefined, keeper.service(), HEAT);
    m.write(CODE + 8n * PAGE, path([1, 2, 3]));
    run(CODE + 8n * PAGE);
    expect(rax()).toBe(sum([1, 2, 3]));
    expect([keeper.submitted, regions().adopted]).toEqual([1, 1]);
  });

  test('is not where a block behind its head is another', () => {
    const keeper = new Keeper();
    const step = fc.integer({ min: 1, max: 3 });
    fc.assert(
      fc.property(fc.tuple(step, step, step), (steps) => {
        prepare(undefined, keeper.service(), HEAT);
        m.write(CODE, path(steps));
        run(CODE);
        expect(rax()).toBe(sum(steps));
        expect(regions().installed).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });

  test('is not where the code behind it reads flags that it takes for dead', () => {
    const keeper = new Keeper();
    // mov ecx, LONG; L: dec ecx; jnz L; then `end`; hlt
    const program = (end: readonly number[]): Uint8Array =>
      Uint8Array.from([0xb9, ...imm32(LONG), 0xff, 0xc9, 0x75, 0xfc, ...end, HLT]);
    const clears = [0x31, 0xdb]; // xor ebx, ebx
    const reads = [0x0f, 0x94, 0xc3]; // setz bl
    prepare(undefined, keeper.service(), HEAT);
    m.write(CODE, program(clears));
    run(CODE);
    const [[head, request]] = [...keeper.kept] as [[number, RegionRequest]];
    const [loopNode] = request.nodes as [RegionNode];
    const assuming = encodeRegionRequest(
      [{ ...loopNode, bits: loopNode.bits | NODE_NEXT_FLAGS_DEAD, next: -1 }],
      0,
      request.pageOffset,
      (_node, bytes, at) =>
        bytes.set(
          request.bytes.subarray(loopNode.records, loopNode.records + loopNode.slots * RECORD_BYTES),
          at,
        ),
    );
    for (const [end, adopted] of [
      [clears, 1],
      [reads, 0],
    ] as const) {
      keeper.kept.set(head, assuming);
      prepare(undefined, keeper.service(), HEAT);
      m.write(CODE, program(end));
      m.setState64(S.RBX, 0x77n);
      run(CODE);
      expect(m.getState64(S.RBX)).toBe(end === clears ? 0n : 1n);
      expect(regions().adopted).toBe(adopted);
    }
  });
});
