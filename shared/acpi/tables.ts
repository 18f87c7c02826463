// The ACPI tables of the machine (ACPI 6.5 §5.2): RSDP → XSDT → FADT, MADT, MCFG; FADT → FACS and DSDT. The hardware
// model is the full one (not hardware-reduced): PM1a event and control, PM timer, SCI. APIC ids are the vCPU
// indices. All lie in the reserved area below 1 MiB, where a kernel without acpi_rsdp_addr scans for the RSDP.
import { TroupeError } from '#shared/base/error.js';
import { concat, littleEndian } from './aml.js';
import { buildDsdtBody, type DsdtOptions } from './dsdt.js';
import * as platform from './platform.js';
import { bodyWriter, buildTable, finishTable, OEM_ID, TableWriter } from './table.js';

/** What the tables depend on. */
export interface AcpiOptions extends DsdtOptions {
  /** Where the tables start; 16-byte aligned in [0xE0000, 1 MiB). Default 0xE0000. */
  readonly rsdpGpa?: number;
}

/** Bytes to be placed in guest RAM. */
export interface AcpiBlob {
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** All tables, and where the RSDP is. */
export interface AcpiTables {
  readonly blobs: readonly AcpiBlob[];
  readonly rsdp: number;
}

const RSDP_BYTES = 36;
const FADT_BYTES = 276;
const FACS_BYTES = 64;
/** LAPIC ids from here on need x2APIC entries: 255 is the broadcast id. */
const FIRST_X2APIC_ID = 255;

// FADT fixed feature flags, ACPI 6.5 table 5.10.
const FADT_WBINVD = 1 << 0;
const FADT_PROC_C1 = 1 << 2;
const FADT_SLP_BUTTON = 1 << 5; // no fixed sleep button
const FADT_FIX_RTC = 1 << 6; // RTC wake is not in the fixed registers
const FADT_TMR_VAL_EXT = 1 << 8;
const FADT_RESET_REG_SUP = 1 << 10;
// IA-PC boot architecture flags, ACPI 6.5 table 5.11: 8042 (bit 1) stays clear.
const IAPC_LEGACY_DEVICES = 1 << 0;
const IAPC_VGA_NOT_PRESENT = 1 << 2;

/** Builds all tables. Throws `bad-config` when so many vCPUs do not fit below 1 MiB. */
export function buildAcpiTables(options: AcpiOptions): AcpiTables {
  const rsdp = options.rsdpGpa ?? platform.ACPI_BASE;
  const blobs: AcpiBlob[] = [];
  let free = Math.ceil((rsdp + RSDP_BYTES) / 64) * 64; // FACS wants 64-byte alignment
  const place = (bytes: Uint8Array): number => {
    const gpa = free;
    free = Math.ceil((gpa + bytes.length) / 64) * 64;
    if (free > platform.ACPI_BASE + platform.ACPI_BYTES) {
      throw new TroupeError(
        'bad-config',
        `the tables of ${options.vcpus} vCPUs do not fit below 1 MiB`,
        'use fewer vCPUs',
      );
    }
    blobs.push({ gpa, bytes });
    return gpa;
  };
  const facs = place(buildFacs());
  const dsdt = place(buildTable('DSDT', 2, buildDsdtBody(options)));
  const listed = [buildFadt(facs, dsdt), buildMadt(options.vcpus), buildMcfg()].map(place);
  const xsdt = place(buildTable('XSDT', 1, concat(listed.map((gpa) => littleEndian(gpa, 8)))));
  blobs.unshift({ gpa: rsdp, bytes: buildRsdp(xsdt) });
  return { blobs, rsdp };
}

/** Root System Description Pointer, §5.2.5.3: two checksums. */
function buildRsdp(xsdt: number): Uint8Array {
  const rsdp = new TableWriter(RSDP_BYTES).text(0, 'RSD PTR ').text(9, OEM_ID).u8(15, 2);
  rsdp.u32(20, RSDP_BYTES).u64(24, xsdt);
  return rsdp.checksum(8, 0, 20).checksum(32, 0, RSDP_BYTES).bytes;
}

/** Firmware ACPI Control Structure, §5.2.10: it has no standard header and no checksum. */
function buildFacs(): Uint8Array {
  return new TableWriter(FACS_BYTES).text(0, 'FACS').u32(4, FACS_BYTES).u8(32, 2).bytes;
}

/** Fixed ACPI Description Table, §5.2.9. Register blocks stand twice: as ports and as generic addresses. */
function buildFadt(facs: number, dsdt: number): Uint8Array {
  const fadt = bodyWriter(FADT_BYTES);
  fadt.u32(36, facs).u32(40, dsdt);
  fadt.u16(46, platform.SCI_IRQ); // SMI_CMD (48) stays 0: the machine is always in ACPI mode
  fadt.u32(56, platform.PM1_EVT_BLOCK).u32(64, platform.PM1_CNT_BLOCK).u32(76, platform.PM_TMR_BLOCK);
  fadt.u8(88, platform.PM1_EVT_BYTES).u8(89, platform.PM1_CNT_BYTES).u8(91, platform.PM_TMR_BYTES);
  fadt.u16(96, 0xffff).u16(98, 0xffff); // P_LVL2_LAT, P_LVL3_LAT: neither state exists
  fadt.u8(108, platform.RTC_CENTURY);
  fadt.u16(109, IAPC_LEGACY_DEVICES | IAPC_VGA_NOT_PRESENT);
  const buttons = FADT_SLP_BUTTON | FADT_FIX_RTC; // PWR_BUTTON (bit 4) clear: a fixed power button
  fadt.u32(112, FADT_WBINVD | FADT_PROC_C1 | buttons | FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP);
  fadt.address(116, 'io', 8, 1, platform.RESET_REG).u8(128, platform.RESET_VALUE);
  fadt.u8(131, 5); // FADT minor version
  fadt.u64(140, dsdt); // X_FIRMWARE_CTRL (132) stays 0: FIRMWARE_CTRL names the FACS
  fadt.address(148, 'io', platform.PM1_EVT_BYTES * 8, 2, platform.PM1_EVT_BLOCK);
  fadt.address(172, 'io', platform.PM1_CNT_BYTES * 8, 2, platform.PM1_CNT_BLOCK);
  fadt.address(208, 'io', platform.PM_TMR_BYTES * 8, 3, platform.PM_TMR_BLOCK);
  fadt.text(268, 'TROUPE'); // hypervisor vendor identity
  return finishTable('FACP', 6, fadt);
}

/** Multiple APIC Description Table, §5.2.12. */
function buildMadt(vcpus: number): Uint8Array {
  const pcatCompatible = 1; // there are 8259s
  const entries: Uint8Array[] = [littleEndian(platform.LAPIC_BASE, 4), littleEndian(pcatCompatible, 4)];
  const enabled = littleEndian(1, 4);
  for (let id = 0; id < vcpus; id++) {
    if (id < FIRST_X2APIC_ID) entries.push(Uint8Array.of(0, 8, id, id), enabled);
    else entries.push(Uint8Array.of(9, 16, 0, 0), littleEndian(id, 4), enabled, littleEndian(id, 4));
  }
  entries.push(
    Uint8Array.of(1, 12, platform.IOAPIC_ID, 0),
    littleEndian(platform.IOAPIC_BASE, 4),
    littleEndian(0, 4),
  );
  entries.push(interruptOverride(0, platform.PIT_GSI, 0));
  entries.push(interruptOverride(platform.SCI_IRQ, platform.SCI_IRQ, 0x0d)); // active high, level
  entries.push(Uint8Array.of(4, 6, 0xff, 0, 0, 1)); // LINT1 of every LAPIC is NMI
  if (vcpus > FIRST_X2APIC_ID)
    entries.push(Uint8Array.of(0x0a, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0));
  return buildTable('APIC', 5, concat(entries));
}

function interruptOverride(source: number, gsi: number, flags: number): Uint8Array {
  return concat([Uint8Array.of(2, 10, 0, source), littleEndian(gsi, 4), littleEndian(flags, 2)]);
}

/** PCI Firmware 3.3 §4.1.2: ECAM of segment 0, bus 0. */
function buildMcfg(): Uint8Array {
  const allocation = bodyWriter(60).u64(44, platform.ECAM_BASE).u16(52, 0).u8(54, 0).u8(55, 0);
  return finishTable('MCFG', 1, allocation);
}
