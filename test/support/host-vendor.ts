// Who made the host's processor. Where the manuals leave a result open, the makers fill it differently, and a comparison
// with the host has to know whose answer it holds.
import { readFileSync } from 'node:fs';

/** 'intel' also stands for makers that we know nothing about: they are compared in full. */
export type HostVendor = 'intel' | 'amd';

/** Vendor strings of CPUID leaf 0. Hygon's processors are AMD's design. */
const AMD = new Set(['AuthenticAMD', 'HygonGenuine']);

/** The vendor string, as Linux has it from CPUID. */
export function hostVendor(): HostVendor {
  if (process.platform !== 'linux') return 'intel';
  const vendor = /^vendor_id\s*:\s*(\S+)/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
  return vendor !== undefined && AMD.has(vendor) ? 'amd' : 'intel';
}
