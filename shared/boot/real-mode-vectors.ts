// The real-mode interrupt vectors as a PC's firmware leaves them, with handlers that do nothing but acknowledge the
// 8259s, at the places where the IBM PC BIOS has them. A kernel that goes back to real mode with interrupts on finds
// its timer ticks handled. Leaves out every BIOS service: INT n returns with nothing done.
import type { GuestMemory } from '#shared/memory/guest-memory.js';

const BIOS_SEGMENT = 0xf000;
/** INT 08h of the IBM PC BIOS, its dummy handler, and a place for that of the second 8259. */
const MASTER_HANDLER = 0xfea5;
const SLAVE_HANDLER = 0xfeb0;
const DUMMY_HANDLER = 0xff53;

export const MASTER_VECTOR_BASE = 0x08;
export const SLAVE_VECTOR_BASE = 0x70;
const CHIP_LINES = 8;

const PUSH_AX = 0x50;
const POP_AX = 0x58;
const IRET = 0xcf;
/** MOV AL, 20h: a non-specific EOI. */
const EOI = [0xb0, 0x20];
const OUT_MASTER = [0xe6, 0x20];
const OUT_SLAVE = [0xe6, 0xa0];

export function writeRealModeVectors(memory: GuestMemory): void {
  for (let vector = 0; vector < 256; vector++) {
    memory.writeU32(vector * 4, ((BIOS_SEGMENT << 16) | handlerOf(vector)) >>> 0);
  }
  const put = (offset: number, code: readonly number[]): void => {
    memory.copyIn(BIOS_SEGMENT * 16 + offset, Uint8Array.from(code));
  };
  put(MASTER_HANDLER, [PUSH_AX, ...EOI, ...OUT_MASTER, POP_AX, IRET]);
  put(SLAVE_HANDLER, [PUSH_AX, ...EOI, ...OUT_SLAVE, ...OUT_MASTER, POP_AX, IRET]);
  put(DUMMY_HANDLER, [IRET]);
}

function handlerOf(vector: number): number {
  if (vector >= MASTER_VECTOR_BASE && vector < MASTER_VECTOR_BASE + CHIP_LINES) return MASTER_HANDLER;
  if (vector >= SLAVE_VECTOR_BASE && vector < SLAVE_VECTOR_BASE + CHIP_LINES) return SLAVE_HANDLER;
  return DUMMY_HANDLER;
}
