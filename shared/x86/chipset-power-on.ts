// The chipset page at power-on and at a machine reset. The kernel runs it while no vCPU runs, before the vCPUs' own resets:
// their TSC counts from the start that is noted here.

import { resetAcpi } from '#shared/chipset/acpi-registers.js';
import { setDouble, setWord, viewChipsetPage } from '#shared/chipset/chipset-page.js';
import { resetI8042 } from '#shared/chipset/i8042.js';
import * as C from '#shared/chipset/page-layout.js';
import { MASTER_VECTOR_BASE, SLAVE_VECTOR_BASE } from '#shared/boot/real-mode-vectors.js';
import { PIC_MASTER_PORT, PIC_SLAVE_PORT, picWrite, resetPic } from '#shared/chipset/pic.js';
import { PIT_CONTROL, PIT_COUNTER0, pitOutput, pitWrite, resetPit } from '#shared/chipset/pit.js';
import { resetRtc } from '#shared/chipset/rtc.js';
import { setIsaIrq } from '#shared/x86/interrupt-delivery.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { resetIoapic } from '#shared/x86/ioapic-page.js';
import { resetLapicPage } from '#shared/x86/lapic-reset.js';

/** Resets IOAPIC, 8259, PIT, RTC, ACPI registers, 8042 and every LAPIC. `nowNs` is monotonic, `wallNs` is UTC. */
export function resetChipset(fabric: InterruptFabric, nowNs: number, wallNs: number): void {
  const page = viewChipsetPage(fabric.words.buffer, fabric.chipset * 4, C.CHIPSET_PAGE_BYTES);
  page.bytes.fill(0);
  // Until the ticker has announced when it wakes, every deadline rings it.
  setWord(page, C.CHIPSET_TICKER_WAKE, -1);
  setWord(page, C.CHIPSET_TICKER_WAKE + 4, 0x7fff_ffff);
  setDouble(page, C.CHIPSET_BOOT_NS, Math.floor(nowNs));
  resetIoapic(fabric);
  resetPic(fabric);
  resetPit(page);
  resetRtc(page, wallNs);
  resetAcpi(page);
  resetI8042(page);
  setWord(page, C.PORT92, 2);
  for (let vcpu = 0; vcpu < fabric.vcpuCount; vcpu++) resetLapicPage(fabric, vcpu);
}

/** ICW2 follows: vectors; then cascade on line 2, 8086 mode; all lines masked but the timer's and the cascade's. */
const ICW1_INIT_ICW4 = 0x11;
const CASCADE_LINE = 2;
const ICW4_8086 = 1;
const MASTER_MASK = 0xff & ~(1 << 0) & ~(1 << CASCADE_LINE);
/** Channel 0, low byte then high byte, mode 2. */
const PIT_RATE_GENERATOR = 0x34;

/**
 * What a PC's firmware leaves running for a kernel that it loads: the 8259s with vectors 08h and 70h, and the timer at 18.2 Hz.
 * Small kernels that go back to real mode wait for its tick.
 */
export function startLegacyTimer(fabric: InterruptFabric, nowNs: number): void {
  const page = viewChipsetPage(fabric.words.buffer, fabric.chipset * 4, C.CHIPSET_PAGE_BYTES);
  picWrite(fabric, PIC_MASTER_PORT, ICW1_INIT_ICW4);
  for (const word of [MASTER_VECTOR_BASE, 1 << CASCADE_LINE, ICW4_8086, MASTER_MASK])
    picWrite(fabric, PIC_MASTER_PORT + 1, word);
  picWrite(fabric, PIC_SLAVE_PORT, ICW1_INIT_ICW4);
  for (const word of [SLAVE_VECTOR_BASE, CASCADE_LINE, ICW4_8086, 0xff])
    picWrite(fabric, PIC_SLAVE_PORT + 1, word);
  pitWrite(page, PIT_CONTROL, PIT_RATE_GENERATOR, nowNs);
  pitWrite(page, PIT_COUNTER0, 0, nowNs);
  pitWrite(page, PIT_COUNTER0, 0, nowNs);
  setIsaIrq(fabric, 0, pitOutput(page, 0, nowNs));
}
