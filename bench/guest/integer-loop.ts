// Guest instructions per second on an integer loop of six instructions, in 32-bit protected mode without paging: a multiboot
// image of a few bytes that ends through isa-debug-exit. Two lengths are run and their difference is taken, so that
// what a process needs to start and stop does not count. Goal: at least 60 million a second.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contestants, median, timeUntil } from '../compare/contestants.js';

const LOAD_ADDRESS = 0x10_0000;
const HEADER_BYTES = 32;
const MULTIBOOT_MAGIC = 0x1bad_b002;
const MULTIBOOT_ADDRESSES = 0x1_0000; // the header says where to load
const INSTRUCTIONS_A_TURN = 6;
const SHORT_TURNS = 1_000_000;
const LONG_TURNS = 101_000_000;
const ROUNDS = 3;

/** Multiboot 0.6.96 §3.1, then the program. */
function buildImage(turns: number): Uint8Array {
  const header = [
    MULTIBOOT_MAGIC,
    MULTIBOOT_ADDRESSES,
    -(MULTIBOOT_MAGIC + MULTIBOOT_ADDRESSES) >>> 0,
    LOAD_ADDRESS,
    LOAD_ADDRESS,
    0,
    0,
    LOAD_ADDRESS + HEADER_BYTES,
  ];
  const count = new Uint8Array(Uint32Array.of(turns).buffer);
  const program = [
    ...[0xb9, ...count], // mov ecx, turns
    ...[0x01, 0xc8], // turn: add eax, ecx
    ...[0x31, 0xc2], // xor edx, eax
    ...[0x8d, 0x34, 0x50], // lea esi, [eax + edx*2]
    ...[0xc1, 0xc8, 0x03], // ror eax, 3
    ...[0x49], // dec ecx
    ...[0x75, 0xf3], // jnz turn
    ...[0xb0, 0x00, 0xe6, 0xf4], // mov al, 0; out 0xf4, al
    ...[0xf4, 0xeb, 0xfd], // hlt; jmp hlt
  ];
  return Uint8Array.from([...new Uint8Array(Uint32Array.from(header).buffer), ...program]);
}

export async function benchIntegerLoop(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  try {
    for (const contestant of contestants()) {
      const time = async (turns: number): Promise<number> => {
        const kernel = join(directory, `loop-${turns}`);
        writeFileSync(kernel, buildImage(turns));
        const times: number[] = [];
        const argv = contestant.command({ kernel, append: '', vcpus: 1, memoryMib: 64 });
        for (let i = 0; i < ROUNDS; i++) times.push(await timeUntil(argv));
        return median(times);
      };
      const differenceMs = (await time(LONG_TURNS)) - (await time(SHORT_TURNS));
      const perSecond = ((LONG_TURNS - SHORT_TURNS) * INSTRUCTIONS_A_TURN) / (differenceMs / 1000);
      const millions = (perSecond / 1e6).toFixed(0);
      process.stdout.write(`  ${contestant.name.padEnd(10)} ${millions.padStart(8)} M instructions/s\n`);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}
