// Random cases of an instruction form: encoding, register and memory values, and an address for its memory operand
// that is aligned, misaligned, across pages, read-only, unmapped or not canonical, in shares that reach every path.

import iced from 'iced-x86';
import type { Prng } from '#shared/base/prng.js';
import { DECODER_OPTIONS, type InstructionForm } from '#shared/translate/instruction-form.js';
import { type Case, type CaseMode, CODE, DATA, FS_BASE, FX_BYTES, GS_BASE } from './case-record.js';
import { type EncodedInstruction, encodeForm, type MemoryReference } from './encoding.js';
import { type Draft, operandBytes, patchBytes, pickTarget } from './draft.js';
import { refine } from './refinement.js';
import { type ElementKind, fillElements, randomInteger } from './values.js';

const { CodeExt, Decoder, MemorySize } = iced;

const POOL_VALUES = 4096;
const POOL_WORDS = POOL_VALUES * 4;
const ENTRIES_KEPT = 1 << 12;

const LOADS_SEGMENT = /^(Mov_Sreg|Pop[wdq]_[CDEFGS]S|L[defgs]s_|Retf|Iret|(Call|Jmp)_(m16|ptr))/;

/** What a form's operands hold. */
export function elementKindOf(form: InstructionForm): ElementKind {
  const memory = MemorySize[CodeExt.opCode(form.code).memorySize]!;
  if (/FloatExtended80/.test(memory)) return 'f80';
  if (/Bcd/.test(memory)) return 'bcd';
  if (/Float64/.test(memory)) return 'f64';
  if (/Float32/.test(memory)) return 'f32';
  if (!form.operands.some((o) => o.kind === 'xmm')) return 'integer';
  if (/(pd|sd)$/.test(form.mnemonic)) return 'f64';
  return /(ps|ss)$/.test(form.mnemonic) ? 'f32' : 'integer';
}

/** Makes cases; one for each run, since it holds pools of values made from the run's seed. */
export class CaseGenerator {
  readonly prng: Prng;
  readonly #pools = new Map<ElementKind, Uint32Array>();

  constructor(prng: Prng) {
    this.prng = prng;
    for (const kind of ['integer', 'f32', 'f64', 'f80', 'bcd'] as const) {
      const words = new Uint32Array(POOL_WORDS);
      const view = new DataView(words.buffer);
      const step = kind === 'f80' || kind === 'bcd' ? 10 : 16;
      for (let i = 0; i < POOL_VALUES; i++) fillElements(prng, view, i * 16, step, kind);
      this.#pools.set(kind, words);
    }
  }

  /** A case of `form`, or undefined when the encoding came out as something else. */
  make(form: InstructionForm, mode: CaseMode): Case | undefined {
    const { prng } = this;
    const encoded = encodeForm(prng, form, mode);
    if (encoded.bytes.length > 15) return undefined;
    const kind = elementKindOf(form);
    const draft = this.#draft(form, mode, encoded, kind);
    const size = operandBytes(form);
    const target = pickTarget(prng, size, mode);
    if (encoded.memory !== undefined) {
      this.#solve(draft, encoded.memory, target);
      draft.target = target;
      if (prng.below(2) === 0) this.patch(draft, target, Math.max(size, 8), kind);
    }
    refine(this, draft);
    if (!decodesTo(form, draft.case.code, mode)) return undefined;
    return draft.case;
  }

  #draft(form: InstructionForm, mode: CaseMode, encoded: EncodedInstruction, kind: ElementKind): Draft {
    const { prng } = this;
    const words = new Uint32Array(32);
    for (let i = 0; i < 16; i++) randomInteger(prng, words, i * 2);
    const gpr = new BigUint64Array(words.buffer);
    if (mode !== 64) for (let i = 0; i < 16; i++) gpr[i] = i < 8 ? gpr[i]! & 0xffffffffn : 0n;
    gpr[4] = this.stackPointer(mode, form);
    // Code may cross its two pages.
    const place = prng.below(4) === 0 ? 0x1000 - prng.below(16) : 0x800 + prng.below(0x1000);
    return {
      form,
      encoded,
      kind,
      target: undefined,
      case: {
        form: form.name,
        mode,
        code: Uint8Array.from(encoded.bytes),
        gpr,
        rip: mode === 16 ? place : CODE + place,
        rflags: 0x202 | (prng.u32() & 0x8d5) | (prng.below(4) === 0 ? 0x400 : 0),
        fx: this.floatState(form, kind),
        patches: [],
        segments: LOADS_SEGMENT.test(form.name),
      },
    };
  }

  stackPointer(mode: CaseMode, form: InstructionForm): bigint {
    const { prng } = this;
    const edge = CodeExt.opCode(form.code).isStackInstruction && prng.below(4) === 0;
    const address = edge ? pickTarget(prng, 8, mode) : BigInt(DATA + 0x1400 + prng.below(64) * 8);
    return mode === 16 ? (address - BigInt(DATA)) & 0xffffn : mode === 32 ? address & 0xffffffffn : address;
  }

  /** Copies a random pool value of 16 bytes (10 of the 80-bit kinds). */
  copyValue(target: Uint32Array, at: number, kind: ElementKind): void {
    const pool = this.#pools.get(kind)!;
    const from = (this.prng.u32() % POOL_VALUES) * 4;
    for (let i = 0; i < 4; i++) target[at + i] = pool[from + i]!;
  }

  /** Registers of x87, MMX and SSE as an FXSAVE image. */
  floatState(form: InstructionForm, kind: ElementKind): Uint8Array {
    const { prng } = this;
    const words = new Uint32Array(FX_BYTES / 4);
    const image = new Uint8Array(words.buffer);
    const x87 = /^F|^(Emms|Wait)/.test(form.name) || form.operands.some((o) => o.kind === 'st');
    const mmx = form.operands.some((o) => o.kind === 'mmx');
    const choice = prng.u32();
    let control = 0x37f;
    let status = 0;
    let tags = 0xff;
    if (x87 || (choice & 7) === 0) {
      if ((choice & 0x18) !== 0) control = 0x7f | ((choice >>> 8) & 0xf00);
      if ((choice & 0xe0) === 0) control = (control & ~0x3f) | (prng.u32() & 0x3f);
      status = (prng.u32() & 0x4700) | (prng.below(8) << 11);
      if (prng.below(4) === 0) status |= prng.u32() & 0x7f;
      // A pending exception makes every waiting instruction #MF: rarely.
      if (prng.below(8) !== 0) status &= ~(~control & 0x3f);
      if ((status & ~control & 0x3f) !== 0) status |= 0x8080;
      if (prng.below(3) === 0) tags = prng.u32() & 0xff;
    }
    words[0] = control | (status << 16);
    words[1] = tags;
    words[6] = 0x1f80;
    if (form.operands.some((o) => o.kind === 'xmm') || (choice & 7) === 1) words[6] = this.#mxcsr();
    for (let i = 0; i < 8; i++) {
      const st = x87 && prng.below(8) !== 0 ? 'f80' : kind === 'f80' || kind === 'bcd' ? 'integer' : kind;
      this.copyValue(words, 8 + i * 4, st);
      words[10 + i * 4]! &= 0xffff;
      if (mmx && st !== 'f80') words[10 + i * 4] = 0xffff;
      words[11 + i * 4] = 0;
    }
    for (let i = 0; i < 16; i++) {
      const lane = kind === 'f80' || kind === 'bcd' || prng.below(8) === 0 ? 'integer' : kind;
      this.copyValue(words, 40 + i * 4, lane);
    }
    return image;
  }

  #mxcsr(): number {
    const { prng } = this;
    const choice = prng.u32();
    const masks = (choice & 7) === 0 ? prng.u32() & 0x1f80 : 0x1f80;
    const rounding = (choice & 0x18) === 0 ? prng.u32() & 0x6000 : 0;
    const flush = (choice & 0x60) === 0 ? prng.u32() & 0x8040 : 0;
    return masks | rounding | flush | ((choice & 0x180) === 0 ? prng.u32() & 0x3f : 0);
  }

  /** Gives the address registers values that make `memory` refer to `target`. */
  #solve(draft: Draft, memory: MemoryReference, target: bigint): void {
    const c = draft.case;
    const bits = memory.addressBits;
    const segmentBase =
      c.mode === 16 ? DATA : memory.segment === 4 ? FS_BASE : memory.segment === 5 ? GS_BASE : 0;
    const offset = BigInt.asUintN(bits, target - BigInt(segmentBase));
    if (memory.fixup !== 'none') {
      const next = BigInt(c.rip + c.code.length);
      const value = memory.fixup === 'rip' ? offset - next : offset;
      for (let i = 0; i < memory.fixupBytes; i++)
        c.code[memory.fixupAt + i] = Number((value >> BigInt(8 * i)) & 255n);
      return;
    }
    const { base, index } = memory;
    const scale = BigInt(memory.scale);
    const displacement = BigInt(memory.displacement);
    const keep = (register: number, value: bigint): void => {
      const high = c.mode === 64 || bits === 16 ? (c.gpr[register]! >> BigInt(bits)) << BigInt(bits) : 0n;
      c.gpr[register] = BigInt.asUintN(c.mode === 64 ? 64 : 32, high) | BigInt.asUintN(bits, value);
    };
    if (base < 0) keep(index, BigInt.asUintN(bits, offset - displacement) / scale);
    else if (base === index) keep(base, BigInt.asUintN(bits, offset - displacement) / (1n + scale));
    else keep(base, offset - displacement - (index < 0 ? 0n : c.gpr[index]! * scale));
  }

  /** Puts values of a kind at a linear address, as far as it lies in the data pages. */
  patch(draft: Draft, address: bigint, bytes: number, kind: ElementKind): void {
    const values = new Uint32Array(Math.ceil(bytes / 16) * 4);
    for (let i = 0; i < values.length; i += 4) this.copyValue(values, i, kind);
    patchBytes(draft, address, new Uint8Array(values.buffer, 0, bytes));
  }
}

const decoded = new Map<string, boolean>();

/** Whether the decoder reads `code` as `form`. Remembered by the bytes that decide, for speed. */
export function decodesTo(form: InstructionForm, code: Uint8Array, mode: CaseMode): boolean {
  const key = `${form.code},${mode},${String.fromCharCode(...code.subarray(0, 8))}`;
  const known = decoded.get(key);
  if (known !== undefined) return known;
  const decoder = new Decoder(mode, code, DECODER_OPTIONS);
  const instruction = decoder.decode();
  const result = instruction.code === form.code && instruction.length === code.length;
  instruction.free();
  decoder.free();
  if (decoded.size > ENTRIES_KEPT) decoded.clear();
  decoded.set(key, result);
  return result;
}
