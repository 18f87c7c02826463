// Resource descriptors for _CRS (ACPI 6.5 §6.4): fixed ports, interrupts, fixed memory and the windows of a host bridge.
import { type Aml, buffer, concat, littleEndian } from './aml.js';

/** A ResourceTemplate: descriptors, then the end tag with a checksum of 0 ("not computed"). */
export function resourceTemplate(...descriptors: Uint8Array[]): Aml {
  return buffer(concat([...descriptors, Uint8Array.of(0x79, 0)]));
}

/** IO (Decode16): exactly these ports. §6.4.2.5. */
export function io(base: number, bytes: number): Uint8Array {
  return concat([
    Uint8Array.of(0x47, 1),
    littleEndian(base, 2),
    littleEndian(base, 2),
    Uint8Array.of(1, bytes),
  ]);
}

/** IRQNoFlags: an edge-triggered, active-high ISA interrupt. §6.4.2.1. */
export function irq(line: number): Uint8Array {
  return concat([Uint8Array.of(0x22), littleEndian(1 << line, 2)]);
}

/** Memory32Fixed, read-write. §6.4.3.4. */
export function memory32Fixed(base: number, bytes: number): Uint8Array {
  return concat([Uint8Array.of(0x86, 9, 0, 1), littleEndian(base, 4), littleEndian(bytes, 4)]);
}

const RESOURCE_MEMORY = 0;
const RESOURCE_IO = 1;
const RESOURCE_BUS = 2;
/** _MIF and _MAF: both ends fixed; positive decode; produced for the devices behind. */
const FIXED_WINDOW = 0x0c;
const MEMORY_READ_WRITE = 1;
const IO_ENTIRE_RANGE = 3;

export function wordBusNumber(first: number, last: number): Uint8Array {
  return addressSpace(0x88, 2, RESOURCE_BUS, 0, first, last - first + 1);
}

export function wordIoWindow(base: number, bytes: number): Uint8Array {
  return addressSpace(0x88, 2, RESOURCE_IO, IO_ENTIRE_RANGE, base, bytes);
}

export function dwordMemoryWindow(base: number, bytes: number): Uint8Array {
  return addressSpace(0x87, 4, RESOURCE_MEMORY, MEMORY_READ_WRITE, base, bytes);
}

export function qwordMemoryWindow(base: number, bytes: number): Uint8Array {
  return addressSpace(0x8a, 8, RESOURCE_MEMORY, MEMORY_READ_WRITE, base, bytes);
}

/** Word, DWord and QWord Address Space Descriptors, §6.4.3.5: granularity 0, no translation. */
function addressSpace(
  tag: number,
  width: number,
  type: number,
  typeFlags: number,
  base: number,
  bytes: number,
): Uint8Array {
  const numbers = [0, base, base + bytes - 1, 0, bytes].map((value) => littleEndian(value, width));
  const header = [tag, 3 + 5 * width, 0, type, FIXED_WINDOW, typeFlags];
  return concat([Uint8Array.from(header), ...numbers]);
}
