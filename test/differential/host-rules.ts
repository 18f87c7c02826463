// The rules of a comparison by the maker of the host's processor.

import { type HostVendor, hostVendor } from '../support/host-vendor.js';
import { AMD_HOST } from './amd-host.js';
import { type HostRules, NO_LATITUDE } from './latitude.js';

const INTEL_HOST: HostRules = { decoded: (c) => c, latitude: () => NO_LATITUDE };

const RULES: Readonly<Record<HostVendor, HostRules>> = { intel: INTEL_HOST, amd: AMD_HOST };

/** For this host, unless a maker is named. */
export function hostRules(vendor = hostVendor()): HostRules {
  return RULES[vendor];
}
