// Layout of the chipset page in the arena: IOAPIC, the 8259 pair, PIT, RTC and the ACPI fixed registers. Byte offsets
// from the page's start. The registers live here and not in an actor's heap so that any thread serves them
// without a hop: the IOAPIC and the 8259 inputs by atomics, the rest under the page's lock (chipset-lock.ts).

/** i32: 0, or the owner (vCPU index + 1; CHIPSET_LOCK_TICKER) of the page's lock. */
export const CHIPSET_LOCK = 0;
/** The ticker's name as a lock owner: no vCPU has this index. */
export const CHIPSET_LOCK_TICKER = 0x7fff_0000;
/** i64, host ns: when the ticker wakes next by itself. A vCPU that arms an earlier deadline rings its doorbell. */
export const CHIPSET_TICKER_WAKE = 8;
/** f64, host ns: machine start; kvmclock, PM timer and the PIT count from it. */
export const CHIPSET_BOOT_NS = 16;

// IOAPIC
export const IOAPIC_INDEX = 32;
export const IOAPIC_ID_REGISTER = 36;
/** 24 × u32: the low and high words of the redirection table. */
export const IOAPIC_REDIRECTION_LOW = 64;
export const IOAPIC_REDIRECTION_HIGH = 160;
/** 24 × u32: who drives the line high, a bit a source. The line is high while any bit is set. */
export const IOAPIC_LINE_SOURCES = 256;

// The 8259 pair: PIC_MASTER and PIC_SLAVE are the starts of PIC_CHIP_BYTES each; words of pic.ts.
export const PIC_MASTER = 384;
export const PIC_SLAVE = 448;
export const PIC_CHIP_BYTES = 64;

/** The PIT: three channels of PIT_CHANNEL_BYTES, then PIT_PORT61. Words of pit.ts. */
export const PIT_CHANNELS = 512;
export const PIT_CHANNEL_BYTES = 64;
export const PIT_PORT61 = 704;
/** f64, host ns: the next rising edge of channel 0's output, Infinity when there is none. */
export const PIT_NEXT_EDGE = 712;

// ACPI fixed registers, i32 each; i8042; port 92.
export const ACPI_PM1_STATUS = 736;
export const ACPI_PM1_ENABLE = 740;
export const ACPI_PM1_CONTROL = 744;
export const RESET_CONTROL = 748;
export const PORT92 = 752;
export const I8042_STATUS = 756;
export const I8042_DATA = 760;
export const I8042_COMMAND = 764;
export const I8042_CONFIG = 768;
export const I8042_OUTPUT_PORT = 772;
/** i32: the ELCR pair, 16 bits. */
export const PIC_ELCR = 776;

/** i32 each: fw_cfg's selected item, and how far it has been read. */
export const FW_CFG_SELECTOR = 784;
export const FW_CFG_OFFSET = 788;

// RTC
export const RTC_INDEX = 800;
/** f64: ns to add to the host's UTC to get the RTC's, moved when the guest sets the time. */
export const RTC_OFFSET_NS = 808;
/** f64, host ns: the last update or periodic event that was taken into status C. */
export const RTC_LAST_EVENT_NS = 816;
/** 128 bytes of CMOS RAM; the clock's registers are computed on read. */
export const RTC_CMOS = 832;

export const CHIPSET_PAGE_BYTES = 1024;
