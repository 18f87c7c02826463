// A multiboot1 kernel whose only work is a loop of known length in 64-bit code: ten integer instructions a turn, one load
// and one store among them. It says `<` on COM1 before the loop and `>` after it, so that the host's clock times it on any machine.
// Assembled by hand, because the benchmark needs no compiler.

const LOAD_ADDRESS = 0x10_0000;
const CODE_OFFSET = 0x20;
const GDT_POINTER_OFFSET = 0x200;
const GDT_OFFSET = 0x210;
const MULTIBOOT_MAGIC = 0x1bad_b002;
/** The header itself says what to load where. */
const MULTIBOOT_AOUT_KLUDGE = 0x1_0000;
const ITERATIONS_PLACEHOLDER = '88 77 66 55 44 33 22 11';

export const INSTRUCTIONS_PER_ITERATION = 10;
export const LOOP_STARTS = '<';
export const LOOP_ENDS = '>';

const CODE: readonly (readonly [bytes: string, assembly: string])[] = [
  // Identity map of 4 MiB: PML4 at 0x10000, PDPT at 0x11000, page directory at 0x12000.
  ['c7 05 00 00 01 00 03 10 01 00', 'movl $0x11003, 0x10000'],
  ['c7 05 04 00 01 00 00 00 00 00', 'movl $0, 0x10004'],
  ['c7 05 00 10 01 00 03 20 01 00', 'movl $0x12003, 0x11000'],
  ['c7 05 04 10 01 00 00 00 00 00', 'movl $0, 0x11004'],
  ['c7 05 00 20 01 00 83 00 00 00', 'movl $0x83, 0x12000'],
  ['c7 05 04 20 01 00 00 00 00 00', 'movl $0, 0x12004'],
  ['c7 05 08 20 01 00 83 00 20 00', 'movl $0x200083, 0x12008'],
  ['c7 05 0c 20 01 00 00 00 00 00', 'movl $0, 0x1200c'],
  ['b8 00 00 01 00', 'mov $0x10000, %eax'],
  ['0f 22 d8', 'mov %eax, %cr3'],
  ['b8 20 00 00 00', 'mov $0x20, %eax'],
  ['0f 22 e0', 'mov %eax, %cr4'],
  ['b9 80 00 00 c0', 'mov $0xc0000080, %ecx'],
  ['0f 32', 'rdmsr'],
  ['0d 00 01 00 00', 'or $0x100, %eax'],
  ['0f 30', 'wrmsr'],
  ['b8 11 00 00 80', 'mov $0x80000011, %eax'],
  ['0f 22 c0', 'mov %eax, %cr0'],
  ['0f 01 15 00 02 10 00', 'lgdt 0x100200'],
  ['ea a4 00 10 00 08 00', 'ljmp $8, $0x1000a4'],
  // 64-bit code, at 0x1000a4.
  ['b8 10 00 00 00', 'mov $0x10, %eax'],
  ['8e d8', 'mov %eax, %ds'],
  ['8e d0', 'mov %eax, %ss'],
  ['ba f8 03 00 00', 'mov $0x3f8, %edx'],
  ['b8 3c 00 00 00', "mov $'<', %eax"],
  ['ee', 'out %al, (%dx)'],
  [`48 bf ${ITERATIONS_PLACEHOLDER}`, 'movabs $iterations, %rdi'],
  ['be 00 00 20 00', 'mov $0x200000, %esi'],
  ['b8 01 00 00 00', 'mov $1, %eax'],
  ['bb 03 00 00 00', 'mov $3, %ebx'],
  // The loop.
  ['48 01 d8', 'add %rbx, %rax'],
  ['48 31 c3', 'xor %rax, %rbx'],
  ['48 89 c1', 'mov %rax, %rcx'],
  ['48 c1 e9 07', 'shr $7, %rcx'],
  ['81 e1 f8 0f 00 00', 'and $0xff8, %ecx'],
  ['48 03 1c 0e', 'add (%rsi,%rcx), %rbx'],
  ['4c 8d 44 03 05', 'lea 5(%rbx,%rax), %r8'],
  ['4c 89 04 0e', 'mov %r8, (%rsi,%rcx)'],
  ['48 ff cf', 'dec %rdi'],
  ['75 db', 'jne -37'],
  ['b8 3e 00 00 00', "mov $'>', %eax"],
  ['ee', 'out %al, (%dx)'],
  ['b8 0a 00 00 00', "mov $'\\n', %eax"],
  ['ee', 'out %al, (%dx)'],
  ['31 c0', 'xor %eax, %eax'],
  ['e7 f4', 'out %eax, $0xf4 # isa-debug-exit'],
  ['f4', 'hlt'],
  ['eb fd', 'jmp -3'],
];

const GDT = [0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn] as const;

function iterationBytes(iterations: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(iterations));
  return bytes.toString('hex');
}

/** The image of a kernel that loops `iterations` times. */
export function buildIntegerLoop(iterations: number): Uint8Array {
  const hex = CODE.map(([bytes]) => bytes.replace(ITERATIONS_PLACEHOLDER, iterationBytes(iterations))).join(
    '',
  );
  const code = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const image = Buffer.alloc(GDT_OFFSET + GDT.length * 8);
  const header = [
    MULTIBOOT_MAGIC,
    MULTIBOOT_AOUT_KLUDGE,
    -(MULTIBOOT_MAGIC + MULTIBOOT_AOUT_KLUDGE) >>> 0,
    LOAD_ADDRESS, // of the header
    LOAD_ADDRESS,
    0, // the whole file
    0, // no bss
    LOAD_ADDRESS + CODE_OFFSET,
  ];
  header.forEach((word, index) => image.writeUInt32LE(word, index * 4));
  code.copy(image, CODE_OFFSET);
  image.writeUInt16LE(GDT.length * 8 - 1, GDT_POINTER_OFFSET);
  image.writeUInt32LE(LOAD_ADDRESS + GDT_OFFSET, GDT_POINTER_OFFSET + 2);
  GDT.forEach((entry, index) => image.writeBigUInt64LE(entry, GDT_OFFSET + index * 8));
  return image;
}
