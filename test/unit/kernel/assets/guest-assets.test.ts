import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureGuestAssets, type AssetProgress } from '#kernel/assets/guest-assets.js';
import { withFileLock } from '#kernel/assets/lock.js';

const BUSYBOX = '#!/bin/sh\n# \0[\0[[\0ash\0sh\0\0';
const RELEASE = '6.1.0-9-cloud-amd64';

// Stand-ins for apt and dpkg-deb: the index has one kernel and one busybox, and a package "unpacks" to their files.
const APT_CONFIG = '#!/bin/sh\n';
const APT_GET = `#!/bin/sh
for last; do :; done
case "$*" in
  *update*) [ -e "$FAKE/no-network" ] && { echo 'W: Failed to fetch it' >&2; exit 0; }
    for o; do case $o in Dir::State::lists=*) : >"\${o#*=}/fake_Packages" ;; esac; done ;;
  *download*) echo "$last" >>"$FAKE/downloads"
    [ -e "$FAKE/damage" ] && { echo bad >x.deb; exit; }
    echo 'dlstatus:1:50.0:half' >&3; echo "$last" >"\${last%%=*}.deb" ;;
esac
`;
const sha256OfLine: Record<string, string> = {};
const DPKG_DEB = `#!/bin/sh
mkdir -p "$3/boot" "$3/bin" "$3/lib/modules/${RELEASE}/kernel"
echo bzImage >"$3/boot/vmlinuz-${RELEASE}"
cp "$FAKE/busybox" "$3/bin/busybox"
`;

function aptCache(): string {
  const stanza = (name: string, version: string, depends: string) =>
    `${name}) printf 'Package: ${name}\\nVersion: ${version}\\nDepends: ${depends}\\nSHA256: ${sha256OfLine[name] ?? ''}\\n\\n' ;;`;
  return `#!/bin/sh
for last; do :; done
case $last in
${stanza('linux-image-cloud-amd64', '6.1.9-1', `linux-image-${RELEASE} (= 6.1.9-1)`)}
${stanza(`linux-image-${RELEASE}`, '6.1.9-1', 'kmod')}
${stanza('busybox-static', '1:1.35.0-4', '')}
esac
`;
}

describe('ensureGuestAssets', () => {
  let root: string;
  const path = process.env['PATH']!;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'troupe-assets-'));
    for (const [name, version] of [
      [`linux-image-${RELEASE}`, '6.1.9-1'],
      ['busybox-static', '1:1.35.0-4'],
    ] as const) {
      sha256OfLine[name] = createHash('sha256').update(`${name}=${version}\n`).digest('hex');
    }
    const tools = {
      'apt-config': APT_CONFIG,
      'apt-get': APT_GET,
      'apt-cache': aptCache(),
      'dpkg-deb': DPKG_DEB,
    };
    mkdirSync(join(root, 'tools'));
    for (const [name, text] of Object.entries(tools)) {
      writeFileSync(join(root, 'tools', name), text);
      chmodSync(join(root, 'tools', name), 0o755);
    }
    writeFileSync(join(root, 'busybox'), BUSYBOX, 'latin1');
    process.env['FAKE'] = root;
    process.env['PATH'] = join(root, 'tools') + delimiter + path;
  });
  afterEach(() => {
    process.env['PATH'] = path;
    rmSync(root, { recursive: true });
  });

  const cacheDir = (): string => join(root, 'cache');
  const ensure = (onProgress?: (progress: AssetProgress) => void) =>
    ensureGuestAssets({ cacheDir: cacheDir(), ...(onProgress ? { onProgress } : {}) });
  const downloads = (): string[] => readFileSync(join(root, 'downloads'), 'utf8').trim().split('\n');

  it('fetches both packages with progress, then needs neither apt nor network', async () => {
    const phases: string[] = [];
    const assets = await ensure(({ phase, percent }) =>
      phases.push(percent === undefined ? phase : `${phase} ${percent}`),
    );
    expect(assets.version).toBe(RELEASE);
    expect(readFileSync(assets.kernelPath, 'latin1')).toBe('bzImage\n');
    expect(readFileSync(assets.initrdPath, 'latin1')).toMatch(/^070701/);
    expect(phases).toEqual(expect.arrayContaining(['index', 'download 0', 'download 50', 'unpack', 'build']));
    process.env['PATH'] = '/nonexistent';
    expect(await ensure()).toEqual(assets);
    rmSync(assets.initrdPath); // as after an update of ours
    expect(await ensure()).toEqual(assets);
    expect(existsSync(assets.initrdPath)).toBe(true);
  });

  it('fetches once when many ask at once', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => ensure()));
    expect(new Set(all.map(({ initrdPath }) => initrdPath)).size).toBe(1);
    expect(downloads().length).toBe(2);
  });

  it('goes on after a run that was killed, and leaves nothing of it', async () => {
    const left = join(cacheDir(), 'kernel', `${RELEASE}.partial-abc`);
    mkdirSync(left, { recursive: true });
    writeFileSync(join(cacheDir(), 'lock'), 'elsewhere 1 x\n');
    utimesSync(join(cacheDir(), 'lock'), 1, 1);
    await ensure();
    expect(existsSync(left)).toBe(false);
    expect(readdirSync(cacheDir()).sort()).toEqual([
      'apt',
      'busybox',
      'initrd',
      'kernel',
      'selected-default.json',
    ]);
  });

  it('keeps nothing of a package whose hash is wrong', async () => {
    writeFileSync(join(root, 'damage'), '');
    await expect(ensure()).rejects.toMatchObject({
      code: 'asset-fetch-failed',
      message: expect.stringContaining('damaged') as string,
    });
    rmSync(join(root, 'damage'));
    expect((await ensure()).version).toBe(RELEASE);
  });

  it('says what failed and what to do, without apt and without network', async () => {
    writeFileSync(join(root, 'no-network'), '');
    await expect(ensure()).rejects.toMatchObject({
      code: 'asset-fetch-failed',
      message: expect.stringContaining('Failed to fetch it') as string,
      hint: expect.stringContaining('network') as string,
    });
    process.env['PATH'] = '/nonexistent';
    await expect(ensure()).rejects.toMatchObject({
      code: 'missing-tool',
      hint: expect.stringMatching(/--kernel.*--initrd/) as string,
    });
    writeFileSync(join(root, 'file'), '');
    await expect(ensureGuestAssets({ cacheDir: join(root, 'file', 'x') })).rejects.toMatchObject({
      code: 'asset-fetch-failed',
      hint: expect.stringContaining('XDG_CACHE_HOME') as string,
    });
  });
});

describe('withFileLock', () => {
  it('lets one in at a time and is free after a failure', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'troupe-lock-'));
    const lock = join(directory, 'lock');
    let inside = 0;
    let waits = 0;
    const enter = () =>
      withFileLock(
        lock,
        () => waits++,
        async () => {
          expect(++inside).toBe(1);
          await new Promise((resolve) => setTimeout(resolve, 20));
          inside--;
        },
      );
    await expect(
      withFileLock(
        lock,
        () => waits++,
        () => Promise.reject(new Error('x')),
      ),
    ).rejects.toThrow('x');
    await Promise.all([enter(), enter(), enter()]);
    expect(waits).toBe(2);
    expect(readdirSync(directory)).toEqual([]);
    rmSync(directory, { recursive: true });
  });
});
