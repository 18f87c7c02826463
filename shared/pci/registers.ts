// Offsets and bits of a type-0 configuration header and of the MSI-X capability. PCI Local Bus 3.0 §6.1, §6.2, §6.8.2.
// Leaves out type-1 headers (there are no bridges) and PCI Express capabilities (the functions are conventional ones).

export const PCI_VENDOR_ID = 0x00;
export const PCI_DEVICE_ID = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_REVISION_ID = 0x08;
/** 24 bits: programming interface, sub-class, base class. */
export const PCI_CLASS = 0x09;
export const PCI_CACHE_LINE_SIZE = 0x0c;
export const PCI_HEADER_TYPE = 0x0e;
export const PCI_BASE_ADDRESS_0 = 0x10;
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
export const PCI_SUBSYSTEM_ID = 0x2e;
export const PCI_CAPABILITY_LIST = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;
/** The first byte after the header: capabilities go here. */
export const PCI_HEADER_BYTES = 0x40;

export const PCI_CONFIG_BYTES = 4096;
/** What CF8/CFC reaches. */
export const PCI_LEGACY_CONFIG_BYTES = 256;

// Command register, §6.2.2.
export const PCI_COMMAND_IO = 1 << 0;
export const PCI_COMMAND_MEMORY = 1 << 1;
export const PCI_COMMAND_MASTER = 1 << 2;
export const PCI_COMMAND_SERR = 1 << 8;
export const PCI_COMMAND_INTX_DISABLE = 1 << 10;
/** Status register: there is a capability list. */
export const PCI_STATUS_CAP_LIST = 1 << 4;

export const PCI_CAP_ID_VNDR = 0x09;
export const PCI_CAP_ID_MSIX = 0x11;

// MSI-X capability, §6.8.2.3: offsets from the capability.
export const PCI_MSIX_FLAGS = 2;
export const PCI_MSIX_TABLE = 4;
export const PCI_MSIX_PBA = 8;
export const PCI_CAP_MSIX_BYTES = 12;
export const PCI_MSIX_FLAGS_QSIZE = 0x7ff;
export const PCI_MSIX_FLAGS_MASKALL = 0x4000;
export const PCI_MSIX_FLAGS_ENABLE = 0x8000;
// A table entry, §6.8.2.6 to §6.8.2.9.
export const PCI_MSIX_ENTRY_BYTES = 16;
export const PCI_MSIX_ENTRY_LOWER_ADDR = 0;
export const PCI_MSIX_ENTRY_UPPER_ADDR = 4;
export const PCI_MSIX_ENTRY_DATA = 8;
export const PCI_MSIX_ENTRY_VECTOR_CTRL = 12;
export const PCI_MSIX_ENTRY_CTRL_MASKBIT = 1;
