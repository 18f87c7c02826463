// Finds the packages to fetch: the `linux-image-…cloud-amd64` meta-package of a series names the versioned image it
// depends on. A series may be current in the system's own release, in its security or backports suite, or only in
// another release of the same archive; the nearest is taken.

import { TroupeError } from '#shared/base/error.js';
import type { Apt, PackageVersion, TransferListener } from '#kernel/assets/apt.js';
import { OWN_KERNEL_HINT } from '#kernel/assets/process.js';

/** A series of the stock kernel; `default` is whatever the system's release calls current. */
export type KernelSeries = '6.1' | '6.12' | 'default';

export interface KernelPackage {
  image: PackageVersion;
  /** As `uname -r` prints it. */
  release: string;
}

/** Suites of the Debian archive that hold a series, in case the system's sources do not. */
const SUITES_OF_SERIES: Record<KernelSeries, readonly string[]> = {
  '6.1': ['bookworm', 'bookworm-security'],
  '6.12': ['trixie', 'trixie-security', 'bookworm-backports'],
  default: [],
};

/** An index older than this is fetched anew before it is believed. */
const INDEX_FRESH_MS = 6 * 3600 * 1000;

/** The newest image of a series; fetches the index when there is no fresh one. */
export async function resolveKernel(
  apt: Apt,
  series: KernelSeries,
  onStep: (message: string, percent?: number) => void,
): Promise<KernelPackage> {
  const message = 'fetching the package index';
  let complaint: string | undefined;
  const update = async (): Promise<void> => {
    onStep(message);
    const onTransfer: TransferListener = (percent) => onStep(message, percent);
    complaint = await apt.update(onTransfer);
  };
  if ((await apt.indexAgeMs()) > INDEX_FRESH_MS) await update();
  let found = await findImage(apt, series);
  if (!found && (await apt.addSuites(SUITES_OF_SERIES[series]))) {
    await update();
    found = await findImage(apt, series);
  }
  if (found) return found;
  const which = series === 'default' ? 'current Linux' : `Linux ${series}`;
  throw new TroupeError(
    'asset-fetch-failed',
    `no ${which} for cloud guests in the system's package archives${complaint === undefined ? '' : ` (${complaint})`}`,
    OWN_KERNEL_HINT,
  );
}

/** The newest static busybox in the index. */
export async function resolveBusybox(apt: Apt): Promise<PackageVersion> {
  const found = (await apt.versions('busybox-static')).at(0);
  if (found) return found;
  throw new TroupeError(
    'asset-fetch-failed',
    "the system's package archive has no busybox-static",
    OWN_KERNEL_HINT,
  );
}

async function findImage(apt: Apt, series: KernelSeries): Promise<KernelPackage | undefined> {
  const metaPackages =
    series === 'default'
      ? ['linux-image-cloud-amd64']
      : [`linux-image-${series}-cloud-amd64`, 'linux-image-cloud-amd64'];
  for (const meta of metaPackages) {
    for (const { depends } of await apt.versions(meta)) {
      const match = /(?:^|, )linux-image-((\d+\.\d+)\S*-cloud-amd64)(?: \(= (\S+)\))?(?:,|$)/.exec(depends);
      if (!match || (series !== 'default' && match[2] !== series)) continue;
      const [, release, , exact] = match;
      const image = (await apt.versions(`linux-image-${release}`)).find(
        ({ version }) => exact === undefined || version === exact,
      );
      if (image) return { image, release: release! };
    }
  }
  return undefined;
}
