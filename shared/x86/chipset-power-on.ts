// The chipset page at power-on and at a machine reset. The kernel runs it while no vCPU runs, before the vCPUs' own resets:
// their TSC counts from the start that is noted here.

import { resetAcpi } from '#shared/chipset/acpi-registers.js';
import { setDouble, setWord, viewChipsetPage } from '#shared/chipset/chipset-page.js';
import { resetI8042 } from '#shared/chipset/i8042.js';
import * as C from '#shared/chipset/page-layout.js';
import { resetPic } from '#shared/chipset/pic.js';
import { resetPit } from '#shared/chipset/pit.js';
import { resetRtc } from '#shared/chipset/rtc.js';
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
