// Lets QEMU run what Troupe's loaders prepared: the same RAM, the same ACPI tables and the same first register state,
// so that a guest that fails under one of Troupe's engines can be compared step by step. Only for `-M q35`, whose PM
// ports are where the tables say. RAM from STUB to STUB_END must be unused.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ECAM_BASE } from '#shared/acpi/platform.js';
import type { InitialCpuState } from '#shared/boot/initial-state.js';
import type { GuestMemory } from '#shared/memory/guest-memory.js';
import { buildElf, multibootHeader } from './kernel-image.js';

const STUB = 0x80_0000;
const LOW_COPY = STUB + 0x1_0000;
const LOW_BYTES = 0x10_0000;
const STUB_END = LOW_COPY + LOW_BYTES;
/** Free bytes of the file between program headers and data. */
const HEADER_PADDING = 0x200;

/** Writes `directory`/handover.elf for `qemu-system-x86_64 -M q35 -kernel`; returns its path. Needs gcc. */
export function writeHandoverImage(directory: string, memory: GuestMemory, state: InitialCpuState): string {
  const ram = memory.slice(LOW_BYTES, memory.layout.lowBytes - LOW_BYTES)!.slice();
  if (ram.subarray(STUB - LOW_BYTES, STUB_END - LOW_BYTES).some((byte) => byte !== 0)) {
    throw new RangeError('the prepared RAM is in use where the handover code must go');
  }
  ram.set(assembleStub(directory, state), STUB - LOW_BYTES);
  ram.set(memory.slice(0, LOW_BYTES)!, LOW_COPY - LOW_BYTES);
  const image = buildElf({ bits: 32, entry: BigInt(STUB), segments: [{ paddr: LOW_BYTES, data: ram }] });
  image.set(multibootHeader(0), HEADER_PADDING);
  const path = join(directory, 'handover.elf');
  writeFileSync(path, image);
  return path;
}

function assembleStub(directory: string, state: InitialCpuState): Uint8Array {
  const source = fileURLToPath(new URL('./qemu-handover.S', import.meta.url));
  const object = join(directory, 'handover.o');
  const linked = join(directory, 'handover-stub.elf');
  const flat = join(directory, 'handover-stub.bin');
  const constants = {
    LONG_MODE: state.mode === 'long64' ? 1 : 0,
    ECAM: ECAM_BASE,
    LOW_COPY,
    CR0: state.cr0,
    CR3: state.cr3,
    CR4: state.cr4,
    EFER: state.efer,
    GDT_BASE: state.gdtr.base,
    GDT_LIMIT: state.gdtr.limit,
    RIP: state.rip,
    RSP: state.rsp,
    RAX: state.rax,
    RBX: state.rbx,
    RSI: state.rsi,
  };
  const defines = Object.entries(constants).map(([name, value]) => `-D${name}=${value}`);
  run('gcc', '-c', '-m64', ...defines, '-o', object, source);
  run('ld', '-m', 'elf_x86_64', `-Ttext=0x${STUB.toString(16)}`, '-e', String(STUB), '-o', linked, object);
  run('objcopy', '-O', 'binary', '-j', '.text', linked, flat);
  return readFileSync(flat);
}

function run(program: string, ...args: string[]): void {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(' ')}: ${result.error?.message ?? result.stderr}`);
}
