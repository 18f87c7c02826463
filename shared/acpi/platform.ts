// The fixed addresses of the machine: what the ACPI tables announce and the chipset and the PCI host bridge decode.
// One place, so that a table can never name a port at which no device answers. ACPI 6.5 §4.8 (fixed hardware),
// §5.2.9 (FADT); PCI Firmware 3.3 §4.1 (MCFG). Leaves out GPE blocks, PM2 and SMI: the machine has none.

/** PM1a_EVT_BLK: PM1_STS (16 bit) at +0, PM1_EN (16 bit) at +2. ACPI 6.5 §4.8.3.1. */
export const PM1_EVT_BLOCK = 0x600;
export const PM1_EVT_BYTES = 4;
/** PM1a_CNT_BLK: PM1_CNT (16 bit). ACPI 6.5 §4.8.3.2. */
export const PM1_CNT_BLOCK = 0x604;
export const PM1_CNT_BYTES = 2;
/** PM_TMR_BLK: 32-bit free-running counter at {@link PM_TMR_HZ}. ACPI 6.5 §4.8.3.3. */
export const PM_TMR_BLOCK = 0x608;
export const PM_TMR_BYTES = 4;
export const PM_TMR_HZ = 3_579_545;

// PM1_STS / PM1_EN bits, ACPI 6.5 tables 4.11 and 4.12.
export const PM1_TMR_STS = 1 << 0;
export const PM1_BM_STS = 1 << 4;
export const PM1_GBL_STS = 1 << 5;
export const PM1_PWRBTN_STS = 1 << 8;
export const PM1_SLPBTN_STS = 1 << 9;
export const PM1_RTC_STS = 1 << 10;
export const PM1_WAK_STS = 1 << 15;
// PM1_CNT bits, ACPI 6.5 table 4.13.
export const PM1_CNT_SCI_EN = 1 << 0;
export const PM1_CNT_SLP_TYP_SHIFT = 10;
export const PM1_CNT_SLP_TYP_MASK = 7 << 10;
export const PM1_CNT_SLP_EN = 1 << 13;
/** The SLP_TYP that \_S5 names: a write of it with SLP_EN powers the machine off. */
export const SLP_TYP_S5 = 5;

/** SCI: this GSI of the IOAPIC, level, active high. */
export const SCI_IRQ = 9;

/** FADT RESET_REG (I/O, 8 bit): the write of {@link RESET_VALUE} resets the machine. ACPI 6.5 §4.8.3.6. */
export const RESET_REG = 0xcf9;
export const RESET_VALUE = 6;

/** ECAM: bus 0 only, 4 KiB a function. PCIe 6.0 §7.2.2. */
export const ECAM_BASE = 0xe000_0000;
export const ECAM_BYTES = 0x10_0000;
/** The 32-bit window of PCI memory BARs. */
export const PCI_MMIO_BASE = 0xc000_0000;
export const PCI_MMIO_BYTES = 0x2000_0000;
/** The windows of PCI I/O BARs, around CF8–CFF. */
export const PCI_IO_LOW_BYTES = 0xcf8;
export const PCI_IO_BASE = 0xd00;
export const PCI_IO_BYTES = 0xf300;
export const PCI_CONFIG_ADDRESS = 0xcf8;
export const PCI_CONFIG_DATA = 0xcfc;

export const IOAPIC_BASE = 0xfec0_0000;
export const IOAPIC_BYTES = 0x1000;
/** The IOAPIC's own APIC id as MADT says it (ids of another space than the LAPICs': Linux does not mind). */
export const IOAPIC_ID = 0;
export const IOAPIC_PINS = 24;
export const LAPIC_BASE = 0xfee0_0000;
export const LAPIC_BYTES = 0x1000;
/** ISA IRQ 0 (PIT) arrives at this GSI. */
export const PIT_GSI = 2;
/** INTA..INTD of PCI slots go to GSI PCI_GSI_BASE + pciIntxGsi's low 3 bits. */
export const PCI_GSI_BASE = 16;
export const PCI_GSI_COUNT = 8;

/** The GSI of a slot's interrupt pin (0 = INTA … 3 = INTD): the same swizzle as the _PRT announces. */
export function pciIntxGsi(slot: number, pin: number): number {
  return PCI_GSI_BASE + ((slot + pin) % PCI_GSI_COUNT);
}

export const COM1_BASE = 0x3f8;
export const COM1_BYTES = 8;
export const COM1_IRQ = 4;
export const RTC_BASE = 0x70;
export const RTC_BYTES = 2;
export const RTC_IRQ = 8;
/** The century byte of CMOS RAM, named in FADT. */
export const RTC_CENTURY = 0x32;

/** Firmware tables live here: below 1 MiB, reserved in e820, and where a kernel without acpi_rsdp_addr scans. */
export const ACPI_BASE = 0xe_0000;
export const ACPI_BYTES = 0x2_0000;
