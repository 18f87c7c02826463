// Config space as a guest explores it, by ports and by ECAM: enumeration, BAR sizing, what is read-only, the capability
// list, and virtio's window onto a BAR. And MSI-X masking as a guest plays it.
import { describe, expect, it } from 'vitest';
import { createVirtioRng } from '#actors/virtio-rng/actor.js';
import { doorbellIndex, takeDoorbell, BELL_CONFIG } from '#shared/ipc/doorbell.js';
import { BusClient, SPACE_MMIO, SPACE_PORT } from '#shared/ipc/register-bus.js';
import { ECAM_BASE } from '#shared/acpi/platform.js';
import * as R from '#shared/pci/registers.js';
import * as P from '#shared/virtio/pci-layout.js';
import { rngFunctionPlan } from '#shared/virtio/rng.js';
import { ACTOR, InProcessDevice } from '../../../support/in-process-device.js';
import { DEFAULT_FEATURES } from '../../../support/mock-driver.js';

const BDF = 1 << 3;
const CF8 = 0xcf8;

function makeDevice(): InProcessDevice {
  return new InProcessDevice({ create: createVirtioRng, plan: rngFunctionPlan(ACTOR) });
}

function capabilities(device: InProcessDevice): { at: number; id: number; type: number }[] {
  const { config } = device;
  const found = [];
  for (let at = config.read(BDF, 0x34, 1); at !== 0; at = config.read(BDF, at + 1, 1)) {
    found.push({ at, id: config.read(BDF, at, 1), type: config.read(BDF, at + 3, 1) });
  }
  return found;
}

describe('PCI config space', () => {
  it('shows the bridge and the device, and nothing else, by ports and by ECAM', () => {
    const { config } = makeDevice();
    const found = [];
    for (let bdf = 0; bdf < 256; bdf++) {
      config.writePort(CF8, 4, (0x8000_0000 | (bdf << 8)) >>> 0);
      const id = config.readPort(CF8 + 4, 4);
      expect(config.readEcam(bdf << 12, 4)).toBe(id);
      if (id !== 0xffff_ffff) found.push([bdf, id]);
    }
    expect(found).toEqual([
      [0, 0x0008_1b36],
      [BDF, 0x1044_1af4],
    ]);
  });

  it('takes CONFIG_ADDRESS only as a whole word, so that port CF9 stays the reset register', () => {
    const { config } = makeDevice();
    expect(config.claimsPort(0xcf9, 1)).toBe(false);
    expect(config.claimsPort(CF8, 4)).toBe(true);
    expect(config.claimsPort(0xcfe, 2)).toBe(true);
  });

  it('answers nothing while CONFIG_ADDRESS is disabled, and reads bytes at their offset', () => {
    const { config } = makeDevice();
    config.writePort(CF8, 4, BDF << 8);
    expect(config.readPort(CF8 + 4, 4)).toBe(0xffff_ffff);
    config.writePort(CF8, 4, (0x8000_0000 | (BDF << 8) | 8) >>> 0);
    expect(config.readPort(CF8 + 7, 1)).toBe(0xff); // base class
    expect(config.readPort(CF8 + 6, 2)).toBe(0xff00);
  });

  it('sizes a BAR and moves it', () => {
    const { config, pci } = makeDevice();
    const bar = R.PCI_BASE_ADDRESS_0;
    expect(config.read(BDF, bar, 4)).toBe(pci.bars[0]!.address);
    config.write(BDF, bar, 4, 0xffff_ffff);
    expect((~config.read(BDF, bar, 4) + 1) >>> 0).toBe(P.REGISTER_BAR_BYTES);
    config.write(BDF, bar, 4, 0xd000_0000);
    expect(config.read(BDF, bar, 4)).toBe(0xd000_0000);
    config.write(BDF, bar + 8, 4, 0xffff_ffff);
    expect(config.read(BDF, bar + 8, 4)).toBe(0);
  });

  it('keeps what is read-only and rings the device for what changes', () => {
    const { config, layout, views } = makeDevice();
    const bell = doorbellIndex(layout.actors[ACTOR]!.doorbell);
    takeDoorbell(views.i32, bell);
    config.write(BDF, 0, 4, 0);
    expect(config.read(BDF, 0, 4)).toBe(0x1044_1af4);
    expect(takeDoorbell(views.i32, bell)).toBe(0);
    config.write(BDF, R.PCI_COMMAND, 2, 0);
    expect(config.read(BDF, R.PCI_COMMAND, 2)).toBe(0);
    expect(takeDoorbell(views.i32, bell)).toBe(BELL_CONFIG);
  });

  it('lists MSI-X and the five structures of virtio', () => {
    const device = makeDevice();
    expect(device.config.read(BDF, R.PCI_STATUS, 2) & R.PCI_STATUS_CAP_LIST).not.toBe(0);
    const found = capabilities(device);
    expect(found.filter((c) => c.id === R.PCI_CAP_ID_MSIX).length).toBe(1);
    expect(found.filter((c) => c.id === R.PCI_CAP_ID_VNDR).map((c) => c.type)).toEqual([1, 3, 4, 2, 5]);
    expect(device.config.read(BDF, R.PCI_INTERRUPT_PIN, 1)).toBe(0);
  });

  it('reaches registers through the window of virtio-v1.2 §4.1.4.9', () => {
    const device = makeDevice();
    const { config } = device;
    const window = capabilities(device).find((c) => c.type === P.VIRTIO_PCI_CAP_PCI_CFG)!.at;
    const access = (offset: number, length: number): void => {
      config.write(BDF, window + 4, 1, P.REGISTER_BAR);
      config.write(BDF, window + 8, 4, offset);
      config.write(BDF, window + 12, 4, length);
    };
    access(0x12, 2);
    expect(config.read(BDF, window + 16, 2)).toBe(1); // num_queues
    access(0x14, 1);
    config.write(BDF, window + 16, 1, 3);
    expect(device.driver.status).toBe(3);
    access(P.REGISTER_BAR_BYTES, 4);
    expect(config.read(BDF, window + 16, 4)).toBe(0);
  });
});

describe('the register bus of a vCPU', () => {
  it('serves config space itself and finds a BAR where the guest moved it', () => {
    const device = makeDevice();
    const { views, layout, pci } = device;
    const bus = new BusClient(views, layout, 0);
    bus.write(SPACE_PORT, CF8, 4, (0x8000_0000 | (BDF << 8)) >>> 0, 0);
    bus.read(SPACE_PORT, CF8 + 6, 2);
    expect(bus.lo).toBe(0x1044);
    bus.read(SPACE_MMIO, ECAM_BASE + (BDF << 12) + 0x2c, 2);
    expect(bus.lo).toBe(0x1af4);
    bus.read(SPACE_MMIO, ECAM_BASE + (BDF << 12) + 0x10, 8);
    expect([bus.lo, bus.hi]).toEqual([pci.bars[0]!.address, pci.bars[1]!.address]);
    bus.write(SPACE_MMIO, ECAM_BASE + (BDF << 12) + 0x14, 4, 0xd800_0000, 0);
    bus.write(SPACE_MMIO, 0xd800_0000 + 8, 4, 0x1234, 0);
    expect(views.u32[(pci.msix.offset + 8) >>> 2]).toBe(0x1234);
    bus.read(SPACE_MMIO, pci.bars[1]!.address + 8, 4);
    expect(bus.lo).toBe(0xffff_ffff);
  });

  it('rings the device when the MSI-X table is written, for messages that wait for the unmasking', () => {
    const { views, layout, pci } = makeDevice();
    const bell = doorbellIndex(layout.actors[ACTOR]!.doorbell);
    takeDoorbell(views.i32, bell);
    const bus = new BusClient(views, layout, 0);
    bus.write(SPACE_MMIO, pci.bars[1]!.address + 12, 4, 0, 0);
    expect(takeDoorbell(views.i32, bell)).toBe(BELL_CONFIG);
  });
});

describe('MSI-X', () => {
  function complete(device: InProcessDevice): void {
    const queue = device.driver.queues[0]!;
    queue.armUsed();
    queue.post([8]);
    device.driver.notify(0);
    device.settle();
    queue.take();
  }

  for (const [name, mask, unmask] of [
    [
      'a vector',
      (d: InProcessDevice) => (d.views.u32[(d.pci.msix.offset + 16 + 12) >>> 2] = 1),
      (d: InProcessDevice) => (d.views.u32[(d.pci.msix.offset + 16 + 12) >>> 2] = 0),
    ],
    [
      'the function',
      (d: InProcessDevice) => d.config.write(BDF, P.MSIX_CAPABILITY_OFFSET + 2, 2, 0xc000),
      (d: InProcessDevice) => d.config.write(BDF, P.MSIX_CAPABILITY_OFFSET + 2, 2, 0x8000),
    ],
  ] as const) {
    it(`keeps a message pending while ${name} is masked, and sends it once`, () => {
      const device = makeDevice();
      device.driver.start(DEFAULT_FEATURES);
      complete(device);
      expect(device.takeInterrupt(1)).toBe(true);
      mask(device);
      complete(device);
      expect(device.takeInterrupt(1)).toBe(false);
      expect(device.views.u32[(device.pci.msix.offset + P.MSIX_PBA_OFFSET) >>> 2]).toBe(2);
      device.restart(); // the next generation knows of it too
      device.settle();
      expect(device.takeInterrupt(1)).toBe(false);
      unmask(device);
      device.ringConfig();
      device.settle();
      expect(device.takeInterrupt(1)).toBe(true);
      expect(device.views.u32[(device.pci.msix.offset + P.MSIX_PBA_OFFSET) >>> 2]).toBe(0);
    });
  }

  it('touches no memory while the function is no bus master', () => {
    const device = makeDevice();
    device.driver.start(DEFAULT_FEATURES);
    const queue = device.driver.queues[0]!;
    device.config.write(BDF, R.PCI_COMMAND, 2, R.PCI_COMMAND_MEMORY);
    queue.post([8]);
    device.driver.notify(0);
    device.settle();
    expect(queue.take()).toBeUndefined();
    device.config.write(BDF, R.PCI_COMMAND, 2, R.PCI_COMMAND_MEMORY | R.PCI_COMMAND_MASTER);
    device.ringConfig();
    device.settle();
    expect(queue.take()).toBeDefined();
  });
});
