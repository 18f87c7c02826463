import { describe, expect, it } from 'vitest';
import type { Apt, PackageVersion } from '#kernel/assets/apt.js';
import { resolveKernel } from '#kernel/assets/kernel-package.js';

const version = (name: string, number: string, depends = ''): PackageVersion => ({
  name,
  version: number,
  depends,
  sha256: undefined,
});

const META = 'linux-image-cloud-amd64';
const BOOKWORM = [
  version(META, '6.1.9-2', 'linux-image-6.1.0-56-cloud-amd64 (= 6.1.9-2)'),
  version(META, '6.1.7-1', 'linux-image-6.1.0-50-cloud-amd64 (= 6.1.7-1)'),
  version('linux-image-6.1.0-56-cloud-amd64', '6.1.9-2'),
  version('linux-image-6.1.0-50-cloud-amd64', '6.1.7-1'),
];
const NEWER = [
  version('linux-image-6.12-cloud-amd64', '6.12.5-1', 'linux-image-6.12.5+deb12-cloud-amd64 (= 6.12.5-1)'),
  version('linux-image-6.12.5+deb12-cloud-amd64', '6.12.5-1'),
];

/** An apt whose archive holds `here`, and `elsewhere` once suites were added and fetched. */
function fakeApt(here: PackageVersion[], elsewhere: PackageVersion[] = [], ageMs = 0) {
  const state = { updates: 0, added: [] as string[], packages: ageMs === Infinity ? [] : here };
  const apt: Apt = {
    update: () => {
      state.updates++;
      state.packages = state.added.length > 0 ? [...here, ...elsewhere] : here;
      return Promise.resolve(undefined);
    },
    indexAgeMs: () => Promise.resolve(ageMs),
    addSuites: (suites) => {
      state.added.push(...suites);
      return Promise.resolve(suites.length > 0);
    },
    versions: (name) => Promise.resolve(state.packages.filter((entry) => entry.name === name)),
    download: () => Promise.reject(new Error('not asked for')),
  };
  return { apt, state };
}

const quiet = (): void => {};

describe('resolveKernel', () => {
  it('takes the newest image that the meta-package of the series names', async () => {
    const { apt, state } = fakeApt([...BOOKWORM, ...NEWER]);
    expect((await resolveKernel(apt, '6.1', quiet)).release).toBe('6.1.0-56-cloud-amd64');
    expect((await resolveKernel(apt, 'default', quiet)).image.version).toBe('6.1.9-2');
    expect((await resolveKernel(apt, '6.12', quiet)).release).toBe('6.12.5+deb12-cloud-amd64');
    expect(state).toMatchObject({ updates: 0, added: [] });
  });

  it('does not take 6.12 for 6.1', async () => {
    const { apt } = fakeApt(NEWER.concat(version(META, '6.12.5-1', NEWER[0]!.depends)));
    await expect(resolveKernel(apt, '6.1', quiet)).rejects.toThrow(/Linux 6\.1 /);
  });

  it('passes over a meta-package whose image is gone', async () => {
    const { apt } = fakeApt(BOOKWORM.filter(({ name }) => name !== 'linux-image-6.1.0-56-cloud-amd64'));
    expect((await resolveKernel(apt, '6.1', quiet)).release).toBe('6.1.0-50-cloud-amd64');
  });

  it('looks in the suites of another release when the system has no such series', async () => {
    const { apt, state } = fakeApt(BOOKWORM, NEWER);
    expect((await resolveKernel(apt, '6.12', quiet)).release).toBe('6.12.5+deb12-cloud-amd64');
    expect(state.updates).toBe(1);
    expect(state.added).toContain('trixie');
  });

  it('fetches an index first when there is none or an old one', async () => {
    for (const ageMs of [Infinity, 24 * 3600 * 1000]) {
      const { apt, state } = fakeApt(BOOKWORM, [], ageMs);
      expect((await resolveKernel(apt, 'default', quiet)).release).toBe('6.1.0-56-cloud-amd64');
      expect(state.updates).toBe(1);
    }
  });

  it('says what to do when there is none', async () => {
    const { apt } = fakeApt([]);
    await expect(resolveKernel(apt, 'default', quiet)).rejects.toMatchObject({
      code: 'asset-fetch-failed',
      hint: expect.stringContaining('--kernel') as string,
    });
  });
});
