// Turns cases and the host's outcomes into vectors for `troupe cpu run-vectors`: registers that the instruction uses
// before, those and the memory that it changed after. Regenerate vectors/ with TROUPE_WRITE_VECTORS=1.

import iced from 'iced-x86';
import { SEMANTICS } from '#shared/x86/semantics/index.js';
import { ARITHMETIC_FLAGS } from '#shared/x86/rflags.js';
import { type Case, CODE, CODE_BYTES, DATA, DATA_BYTES, type Outcome } from './case-record.js';
import { formNamed } from './comparison.js';

const { CodeExt, Decoder, InstructionInfoFactory, Register, RegisterExt } = iced;

const NAMES = [
  'RAX',
  'RCX',
  'RDX',
  'RBX',
  'RSP',
  'RBP',
  'RSI',
  'RDI',
  'R8',
  'R9',
  'R10',
  'R11',
  'R12',
  'R13',
  'R14',
  'R15',
];
const HLT = 'f4';
/** Bytes of memory given around what a vector may read. */
const WINDOW = 64;
const LOW_CODE = 0x8000;

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

interface Used {
  readonly gprs: Set<number>;
  readonly xmms: Set<number>;
  /** Linear addresses of memory operands. */
  readonly addresses: bigint[];
}

function addressOf(c: Case, memory: iced.UsedMemory): bigint {
  const register = (r: number): bigint =>
    RegisterExt.isGPR(r) ? c.gpr[RegisterExt.number(RegisterExt.fullRegister(r))]! : 0n;
  const sum = register(memory.base) + register(memory.index) * BigInt(memory.scale) + memory.displacement;
  return BigInt.asUintN(c.mode === 64 && RegisterExt.isGPR32(memory.base) ? 32 : c.mode, sum);
}

function usedRegisters(c: Case): Used {
  const decoder = new Decoder(c.mode, c.code, 0);
  decoder.ip = BigInt(c.rip);
  const instruction = decoder.decode();
  const factory = new InstructionInfoFactory();
  const info = factory.info(instruction);
  const used: Used = { gprs: new Set(), xmms: new Set(), addresses: [] };
  for (const entry of info.usedRegisters()) {
    const { register } = entry as iced.UsedRegister;
    if (RegisterExt.isGPR(register)) used.gprs.add(RegisterExt.number(RegisterExt.fullRegister(register)));
    if (register >= Register.XMM0 && register <= Register.XMM15) used.xmms.add(register - Register.XMM0);
  }
  for (const entry of info.usedMemory()) used.addresses.push(addressOf(c, entry as iced.UsedMemory));
  for (const owned of [info, factory, instruction, decoder]) owned.free();
  return used;
}

function xmm(fx: Uint8Array, i: number): [string, string] {
  const view = new DataView(fx.buffer, fx.byteOffset + 160 + i * 16, 16);
  return [hex(view.getBigUint64(0, true)), hex(view.getBigUint64(8, true))];
}

/** The x87 registers by physical number. */
function x87(fx: Uint8Array): [string, [string, string]][] {
  const view = new DataView(fx.buffer, fx.byteOffset);
  const top = (view.getUint16(2, true) >> 11) & 7;
  return [0, 1, 2, 3, 4, 5, 6, 7].map((i) => {
    const at = 32 + i * 16;
    return [`MM${(top + i) & 7}`, [hex(view.getBigUint64(at, true)), hex(view.getUint16(at + 8, true))]];
  });
}

function controlWords(fx: Uint8Array): Record<string, string> {
  const view = new DataView(fx.buffer, fx.byteOffset);
  return {
    FCW: hex(view.getUint16(0, true)),
    FSW: hex(view.getUint16(2, true)),
    FTW: hex(fx[4]!),
    MXCSR: hex(view.getUint32(24, true)),
  };
}

/** Memory that the case can see: the background around its pointers, patches and changes, and then the patches. */
function visibleMemory(c: Case, host: Outcome, background: Uint8Array): [string, string][] {
  const spans: [number, Uint8Array][] = [];
  const around = (at: number, bytes: number): void => {
    const start = Math.max(0, at - WINDOW);
    const end = Math.min(DATA_BYTES, at + bytes + WINDOW);
    if (start < end) spans.push([start, background.subarray(start, end)]);
  };
  const used = usedRegisters(c);
  const pointers = [...used.gprs].map((i) => c.gpr[i]!);
  for (const pointer of [...pointers, ...used.addresses])
    around(Number(BigInt.asIntN(53, pointer)) - DATA, WINDOW);
  for (const patch of c.patches) around(patch.at, patch.bytes.length);
  around(host.changedAt, host.changed.length);
  for (const patch of c.patches) spans.push([patch.at, patch.bytes]);
  return spans.map(([at, bytes]) => [hex(DATA + at), text(bytes)]);
}

/** Whether the case ran through its one instruction to the HLT behind it, and shows nothing that needs privilege 3. */
export function isExportable(c: Case, host: Outcome): boolean {
  const mnemonic = formNamed(c.form)?.mnemonic;
  if (
    mnemonic === undefined ||
    c.segments ||
    /_[C-GS]S$/.test(c.form) ||
    /^(Popf|Pushf|F2xm|Fyl|Fptan|Fpatan|Fsin|Fcos|R(cp|sqrt)[ps]s|Fx|Clflush)/.test(mnemonic)
  )
    return false;
  const next = BigInt(c.rip + c.code.length);
  if (host.trap !== 13 || host.error !== 0 || host.rip !== next) return false;
  return !c.code.some((byte) => byte === 0x64 || byte === 0x65);
}

export function toVector(
  c: Case,
  host: Outcome,
  background: Uint8Array,
  name: string,
): Record<string, unknown> {
  const used = usedRegisters(c);
  const registers: Record<string, unknown> = { RFLAGS: hex(c.rflags & ~0x200), RSP: hex(c.gpr[4]!) };
  const expected: Record<string, unknown> = {};
  const mask = ~(SEMANTICS[formNamed(c.form)!.mnemonic]?.undefinedFlags ?? 0) & ARITHMETIC_FLAGS;
  if (mask === ARITHMETIC_FLAGS) expected['RFLAGS'] = hex((host.rflags & (ARITHMETIC_FLAGS | 0x400)) | 2);
  for (const i of used.gprs) {
    registers[NAMES[i]!] = hex(c.gpr[i]!);
    expected[NAMES[i]!] = hex(host.gpr[i]!);
  }
  for (const i of used.xmms) {
    registers[`XMM${i}`] = xmm(c.fx, i);
    expected[`XMM${i}`] = xmm(host.fx, i);
  }
  const float = /^F(?!xch$)|^(P|Mov|Cvt|Mask|Emms|Wait)/.test(c.form) && /^F|mm(_|$)/.test(c.form);
  if (float) {
    Object.assign(registers, Object.fromEntries(x87(c.fx)));
    Object.assign(expected, Object.fromEntries(x87(host.fx)));
  }
  if (float || used.xmms.size > 0) {
    Object.assign(registers, controlWords(c.fx));
    Object.assign(expected, controlWords(host.fx));
  }
  const real = c.mode === 16;
  const load = real ? LOW_CODE : c.rip;
  const memory = real ? [] : visibleMemory(c, host, background);
  return {
    name,
    mode: c.mode,
    load: hex(load),
    entry: hex(load),
    code: `${text(c.code)}${HLT}`,
    regions: real
      ? [[hex(0), 0x10000]]
      : [
          [hex(CODE), CODE_BYTES],
          [hex(DATA), DATA_BYTES],
        ],
    mem: memory,
    regs: registers,
    expect: {
      ...expected,
      ...(host.changed.length > 0 && !real && { mem: [[hex(DATA + host.changedAt), text(host.changed)]] }),
    },
  };
}

/** 16-bit cases become real-mode vectors, where their memory would not be where it was: those that use none do. */
export function usesMemory(c: Case): boolean {
  const form = formNamed(c.form)!;
  const explicit = form.operands.some((o) => o.memoryBits !== undefined);
  return (
    explicit || form.repeatable || form.mnemonic === 'Xlatb' || CodeExt.opCode(form.code).isStackInstruction
  );
}
