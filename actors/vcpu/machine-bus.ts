// The machine as one vCPU's accesses see it: chipset registers and PCI configuration are served here, in the vCPU's own
// worker, from pages of the arena; everything else goes over the register bus to the actor that answers there.

import { setOwnPending } from '#shared/x86/vcpu-words.js';
import { ECAM_BASE, IOAPIC_BASE } from '#shared/acpi/platform.js';
import { monotonicNs, wallNs } from '#shared/base/clock.js';
import type { ActorContext } from '#shared/ipc/actor.js';
import { BELL_TIMER, doorbellIndex, ringDoorbell } from '#shared/ipc/doorbell.js';
import type { Failpoint } from '#shared/ipc/failpoint.js';
import { DEBUG_EXIT, POWEROFF, raiseMachineEvent, RESET } from '#shared/ipc/machine-event.js';
import { BusClient, SPACE_MMIO, SPACE_PORT } from '#shared/ipc/register-bus.js';
import { PciConfigSpace } from '#shared/pci/config-space.js';
import { type ChipsetPorts, createChipsetPorts } from '#shared/x86/chipset-ports.js';
import { vcpuLockOwner } from '#shared/x86/chipset-lock.js';
import { PENDING, PENDING_KICK } from '#shared/x86/cpu-state.js';
import type { InterruptFabric } from '#shared/x86/interrupt-fabric.js';
import { ioapicRead, ioapicWrite } from '#shared/x86/ioapic-page.js';
import { Lapic } from '#shared/x86/lapic.js';
import { LAPIC_MODE_XAPIC } from '#shared/x86/lapic-layout.js';
import type { PortBus } from './engine-wasm/cpu.js';
import type { PhysicalBus } from './engine-wasm/mmu.js';

const PAGE = 4096;
/** Bus 0 alone: 32 devices of 8 functions, a page each. */
const ECAM_BYTES = 1 << 20;
const CHIPSET = 'chipset';

export class MachineBus implements PhysicalBus, PortBus {
  low = 0;
  high = 0;
  readonly lapic: Lapic;
  readonly #fabric: InterruptFabric;
  readonly #client: BusClient;
  readonly #pci: PciConfigSpace;
  readonly #chipset: ChipsetPorts;
  readonly #failpoint: Failpoint;

  constructor(context: ActorContext, fabric: InterruptFabric, vcpu: number, debugExit: boolean) {
    const { views, layout } = context;
    const ticker = doorbellIndex(layout.actors[CHIPSET]!.doorbell);
    const ringTicker = (): void => ringDoorbell(views.i32, ticker, BELL_TIMER);
    const pending = (layout.vcpus[vcpu]!.state.offset + PENDING) >>> 2;
    // The event ends this vCPU's run too: nothing more is executed after a power off.
    const raise = (kind: typeof POWEROFF | typeof RESET | typeof DEBUG_EXIT, value = 0): void => {
      raiseMachineEvent(layout, views.i32, kind, value);
      setOwnPending(views.i32, pending, PENDING_KICK);
    };
    this.#fabric = fabric;
    this.#failpoint = context.failpoint;
    this.lapic = new Lapic(fabric, vcpu, { nowNs: monotonicNs, ringTicker });
    this.#client = new BusClient(views, layout, vcpu, context.senderOptions);
    this.#pci = new PciConfigSpace(views, layout, {
      readMmio: (address, size) => {
        this.read(address, size);
        return this.low >>> 0;
      },
      writeMmio: (address, size, value) => this.write(address, size, value, 0),
    });
    this.#chipset = createChipsetPorts(
      fabric,
      vcpuLockOwner(vcpu),
      {
        nowNs: monotonicNs,
        wallNs,
        ringTicker,
        powerOff: () => raise(POWEROFF),
        reset: () => raise(RESET),
        debugExit: (value) => raise(DEBUG_EXIT, value),
      },
      { debugExit, ramBytes: layout.ram.lowBytes + layout.ram.highBytes },
    );
  }

  read(gpa: number, bytes: number): void {
    this.high = 0;
    const { lapic } = this;
    if (gpa >= lapic.base && gpa < lapic.base + PAGE && lapic.mode === LAPIC_MODE_XAPIC) {
      this.low = lapic.mmioRead(gpa - lapic.base);
    } else if (gpa >= IOAPIC_BASE && gpa < IOAPIC_BASE + PAGE) {
      this.low = ioapicRead(this.#fabric, gpa - IOAPIC_BASE);
    } else if (gpa >= ECAM_BASE && gpa < ECAM_BASE + ECAM_BYTES) {
      this.low = this.#pci.readEcam(gpa - ECAM_BASE, bytes);
    } else {
      this.#failpoint('device.access');
      this.#client.read(SPACE_MMIO, gpa, bytes);
      this.low = this.#client.lo;
      this.high = this.#client.hi;
    }
  }

  write(gpa: number, bytes: number, low: number, high: number): void {
    const { lapic } = this;
    if (gpa >= lapic.base && gpa < lapic.base + PAGE && lapic.mode === LAPIC_MODE_XAPIC) {
      lapic.mmioWrite(gpa - lapic.base, low);
    } else if (gpa >= IOAPIC_BASE && gpa < IOAPIC_BASE + PAGE) {
      ioapicWrite(this.#fabric, gpa - IOAPIC_BASE, low);
    } else if (gpa >= ECAM_BASE && gpa < ECAM_BASE + ECAM_BYTES) {
      this.#pci.writeEcam(gpa - ECAM_BASE, bytes, low);
    } else {
      this.#failpoint('device.access');
      this.#client.write(SPACE_MMIO, gpa, bytes, low, high);
    }
  }

  portRead(port: number, bytes: number): number {
    if (this.#chipset.covers(port, bytes)) return this.#chipset.portRead(port, bytes);
    if (this.#pci.claimsPort(port, bytes)) return this.#pci.readPort(port, bytes);
    this.#failpoint('device.access');
    this.#client.read(SPACE_PORT, port, bytes);
    return this.#client.lo;
  }

  portWrite(port: number, bytes: number, value: number): void {
    if (this.#chipset.covers(port, bytes)) this.#chipset.portWrite(port, bytes, value);
    else if (this.#pci.claimsPort(port, bytes)) this.#pci.writePort(port, bytes, value);
    else {
      this.#failpoint('device.access');
      this.#client.write(SPACE_PORT, port, bytes, value, 0);
    }
  }
}
