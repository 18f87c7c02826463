// Guest RAM for tests: plain shared memory, low RAM only unless asked.
import { GuestMemory } from '#shared/memory/guest-memory.js';

export function ramOf(lowBytes: number, highBytes = 0): GuestMemory {
  return new GuestMemory(new SharedArrayBuffer(lowBytes + highBytes), { ramOffset: 0, lowBytes, highBytes });
}

/** The NUL-terminated string at `gpa`. */
export function stringAt(memory: GuestMemory, gpa: number): string {
  let text = '';
  for (let at = gpa; memory.readU8(at) > 0; at++) text += String.fromCharCode(memory.readU8(at));
  return text;
}
