// The DSDT: the PCI host bridge with its windows and interrupt routing, the serial port, the clock, the vCPUs, and
// \_S5 for poweroff. No i8042, no HPET, no power management beyond S5: the machine has none.
import * as aml from './aml.js';
import * as platform from './platform.js';
import * as resources from './resources.js';

/** What of the DSDT depends on the machine. */
export interface DsdtOptions {
  readonly vcpus: number;
  /** A window for 64-bit BARs above RAM. */
  readonly pciHighWindow?: { readonly base: number; readonly bytes: number } | undefined;
}

const PCI_SLOTS = 32;
const PCI_PINS = 4;
const PCI_OSC_UUID = '33DB4D5B-1FF7-401C-9657-7441C03DD766';
/** _OSC control bit: the OS owns the PCI Express capability structures. PCI Firmware 3.3 §4.5.1. */
const OSC_PCIE_CAPABILITY = 0x10;
const OSC_UNRECOGNIZED_UUID = 0x04;

/** The AML of the DSDT, without its table header. */
export function buildDsdtBody(options: DsdtOptions): Uint8Array {
  const sleep = aml.packageOf(
    aml.integer(platform.SLP_TYP_S5),
    aml.integer(platform.SLP_TYP_S5),
    aml.integer(0),
    aml.integer(0),
  );
  return aml.concat([
    aml.name('\\_S5', sleep),
    aml.scope('\\_SB', pciHostBridge(options), motherboardResources(), com1(), rtc(), ...cpus(options.vcpus)),
  ]);
}

function pciHostBridge(options: DsdtOptions): aml.Aml {
  const windows = [
    resources.wordBusNumber(0, 0),
    resources.io(platform.PCI_CONFIG_ADDRESS, 8),
    resources.wordIoWindow(0, platform.PCI_IO_LOW_BYTES),
    resources.wordIoWindow(platform.PCI_IO_BASE, platform.PCI_IO_BYTES),
    resources.dwordMemoryWindow(platform.PCI_MMIO_BASE, platform.PCI_MMIO_BYTES),
  ];
  const high = options.pciHighWindow;
  if (high !== undefined) windows.push(resources.qwordMemoryWindow(high.base, high.bytes));
  return aml.device(
    'PCI0',
    aml.name('_HID', aml.eisaId('PNP0A08')),
    aml.name('_CID', aml.eisaId('PNP0A03')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_SEG', aml.integer(0)),
    aml.name('_BBN', aml.integer(0)),
    aml.name('_CRS', resources.resourceTemplate(...windows)),
    aml.name('_PRT', aml.packageOf(...interruptRouting())),
    operatingSystemCapabilities(),
  );
}

/** Every pin of every slot, straight to its GSI. */
function interruptRouting(): aml.Aml[] {
  const routes: aml.Aml[] = [];
  for (let slot = 0; slot < PCI_SLOTS; slot++) {
    for (let pin = 0; pin < PCI_PINS; pin++) {
      const address = slot * 0x1_0000 + 0xffff;
      const gsi = aml.integer(platform.pciIntxGsi(slot, pin));
      routes.push(aml.packageOf(aml.integer(address), aml.integer(pin), aml.integer(0), gsi));
    }
  }
  return routes;
}

/** _OSC: gives the OS the PCIe capability structures, keeps the rest (there is no hotplug port and no AER). */
function operatingSystemCapabilities(): aml.Aml {
  const [uuid, , , capabilities] = aml.ARG as [aml.Aml, aml.Aml, aml.Aml, aml.Aml];
  const control = aml.nameString('CDW3');
  const status = aml.nameString('CDW1');
  return aml.method(
    '_OSC',
    4,
    aml.createDWordField(capabilities, 0, 'CDW1'),
    aml.ifThen(
      aml.equal(uuid, aml.uuid(PCI_OSC_UUID)),
      aml.createDWordField(capabilities, 8, 'CDW3'),
      aml.and(control, aml.integer(OSC_PCIE_CAPABILITY), control),
    ),
    aml.otherwise(aml.or(status, aml.integer(OSC_UNRECOGNIZED_UUID), status)),
    aml.returnValue(capabilities),
  );
}

/** Reserves what no driver claims, ECAM above all: Linux uses MCFG only where something reserves it. */
function motherboardResources(): aml.Aml {
  return aml.device(
    'MBRD',
    aml.name('_HID', aml.eisaId('PNP0C02')),
    aml.name('_UID', aml.integer(0)),
    aml.name(
      '_CRS',
      resources.resourceTemplate(
        resources.memory32Fixed(platform.ECAM_BASE, platform.ECAM_BYTES),
        resources.io(
          platform.PM1_EVT_BLOCK,
          platform.PM_TMR_BLOCK + platform.PM_TMR_BYTES - platform.PM1_EVT_BLOCK,
        ),
      ),
    ),
  );
}

function com1(): aml.Aml {
  return aml.device(
    'COM1',
    aml.name('_HID', aml.eisaId('PNP0501')),
    aml.name('_UID', aml.integer(1)),
    aml.name(
      '_CRS',
      resources.resourceTemplate(
        resources.io(platform.COM1_BASE, platform.COM1_BYTES),
        resources.irq(platform.COM1_IRQ),
      ),
    ),
  );
}

function rtc(): aml.Aml {
  return aml.device(
    'RTC',
    aml.name('_HID', aml.eisaId('PNP0B00')),
    aml.name(
      '_CRS',
      resources.resourceTemplate(
        resources.io(platform.RTC_BASE, platform.RTC_BYTES),
        resources.irq(platform.RTC_IRQ),
      ),
    ),
  );
}

/** Processor devices, joined to MADT's entries by _UID. */
function cpus(count: number): aml.Aml[] {
  return Array.from({ length: count }, (_, index) =>
    aml.device(
      `C${index.toString(16).toUpperCase().padStart(3, '0')}`,
      aml.name('_HID', aml.string('ACPI0007')),
      aml.name('_UID', aml.integer(index)),
    ),
  );
}
