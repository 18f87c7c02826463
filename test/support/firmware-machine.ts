// A machine that starts as a PC does, in real mode in its firmware, instead of in a kernel that was loaded for it. What such
// firmware looks for beyond Troupe's machine is put there: its image below 1 MiB, the memory's size in CMOS RAM, and QEMU's
// debug port (docs/specs of QEMU, isa-debugcon), whose bytes come out on COM1.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VcpuParams } from '#actors/vcpu/protocol.js';
import { UART_NAME, type BuiltMachine } from '#kernel/builder.js';
import type { MachineOptions } from '#kernel/machine-config.js';
import { ONE_MIB } from '#shared/boot/low-memory.js';
import type { InitialCpuState, InitialSegment } from '#shared/boot/initial-state.js';
import { RTC_CMOS } from '#shared/chipset/page-layout.js';
import { GuestMemory } from '#shared/memory/guest-memory.js';
import type { RegisterWindow } from '#shared/memory/machine-layout.js';
import { buildPvhKernel } from './kernel-image.js';
import { startPayload, type PayloadMachine } from './machine-move.js';

const DEBUG_PORT = 0x402;
/** What a read of the port gives, and where in COM1's register page that stands: behind what COM1 uses of it. */
const DEBUG_PORT_THERE = 0xe9;
const DEBUG_PORT_SHADOW = 0x800;
/** CMOS bytes of a PC: memory above 16 MiB in 64 KiB, and the first boot device (2: a hard disk). */
const CMOS_HIGH_MEMORY = 0x34;
const CMOS_BOOT_ORDER = 0x3d;
const BOOT_HARD_DISK = 2;
const SIXTEEN_MIB = 16 * ONE_MIB;

/** What the processor has after reset but for CS's base: the image's copy at the top of 4 GiB is no memory of the machine. */
const RESET = {
  mode: 'protected32',
  ...{ rip: 0xfff0, rsp: 0, rax: 0, rbx: 0, rsi: 0, rflags: 2 },
  ...{ cr0: 0x6000_0010, cr3: 0, cr4: 0, efer: 0 },
  cs: { selector: 0xf000, base: 0xf_0000, limit: 0xffff, attributes: 0x9b },
  ...{ ds: realData(), es: realData(), fs: realData(), gs: realData(), ss: realData() },
  ldtr: { selector: 0, base: 0, limit: 0xffff, attributes: 0x82 },
  tr: { selector: 0, base: 0, limit: 0xffff, attributes: 0x8b },
  gdtr: { base: 0, limit: 0xffff },
  idtr: { base: 0, limit: 0xffff },
} as const satisfies InitialCpuState;

function realData(): InitialSegment {
  return { selector: 0, base: 0, limit: 0xffff, attributes: 0x93 };
}

/** `image`: firmware that ends at 1 MiB. It is started instead of a kernel. */
export async function startFirmware(
  image: Uint8Array,
  options: Omit<MachineOptions, 'kernel'>,
): Promise<PayloadMachine> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-firmware-'));
  const kernel = join(directory, 'unused.elf');
  writeFileSync(kernel, buildPvhKernel(2 * ONE_MIB, Uint8Array.of(0xf4)));
  try {
    return await startPayload({ ...options, kernel, debugExit: true }, (built) =>
      installFirmware(built, image),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function installFirmware({ memory, layout, vcpus }: BuiltMachine, image: Uint8Array): void {
  const ram = new GuestMemory(memory, layout.ram);
  ram.fill(0, ram.ramBytes, 0);
  ram.copyIn(ONE_MIB - image.length, image);
  const bytes = new Uint8Array(memory.buffer);
  const cmos = bytes.subarray(layout.shared.chipset.offset + RTC_CMOS);
  const units = (ram.ramBytes - SIXTEEN_MIB) >>> 16;
  cmos.set([units & 0xff, units >>> 8], CMOS_HIGH_MEMORY);
  cmos[CMOS_BOOT_ORDER] = BOOT_HARD_DISK;
  bytes[layout.actors[UART_NAME]!.registerPage.offset + DEBUG_PORT_SHADOW] = DEBUG_PORT_THERE;
  (layout.windows as RegisterWindow[]).push({
    space: 'port',
    start: DEBUG_PORT,
    length: 1,
    actor: UART_NAME,
    base: 0, // THR
    write: 'call', // what two CPUs post comes in any order
    shadow: { start: 0, offset: DEBUG_PORT_SHADOW, length: 1 },
  });
  (vcpus[0]!.seed.params as { initial: VcpuParams['initial'] }).initial = RESET;
}
