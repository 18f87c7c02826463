import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseDisk, parseSize, resolveConfig } from '#kernel/machine-config.js';
import { TroupeError } from '#shared/base/error.js';

function refusal(work: () => unknown): { code: string; message: string; hint: string | undefined } {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(TroupeError);
    const { code, message, hint } = error as TroupeError;
    return { code, message, hint };
  }
  throw new Error('was accepted');
}

describe('parseSize', () => {
  it.each([
    ['512M', 512 * 2 ** 20],
    ['1G', 2 ** 30],
    ['1g', 2 ** 30],
    ['2048K', 2 * 2 ** 20],
    ['64', 64 * 2 ** 20],
    ['1GiB', 2 ** 30],
  ])('%s', (text, bytes) => {
    expect(parseSize(text, 'memory')).toBe(bytes);
  });

  it.each(['', 'M', '-1M', '1.5G', '1T', 'lots'])('refuses %j', (text) => {
    expect(refusal(() => parseSize(text, 'memory')).code).toBe('bad-config');
  });
});

describe('the environment', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('says the tier and the folder of compiled code where nobody else does', () => {
    vi.stubEnv('TROUPE_TIER', 'compiled');
    vi.stubEnv('TROUPE_TRANSLATION_CACHE', '/elsewhere');
    expect(resolveConfig({ kernel: 'k' })).toMatchObject({
      tier: 'compiled',
      translationCache: '/elsewhere',
    });
    const named = { tier: 'interp', translationCache: 'none' } as const;
    expect(resolveConfig({ kernel: 'k', ...named })).toMatchObject(named);
    vi.stubEnv('TROUPE_TIER', 'fast');
    expect(refusal(() => resolveConfig({ kernel: 'k' })).code).toBe('bad-config');
  });
});

describe('parseDisk', () => {
  it('takes the options that follow the path', () => {
    expect(parseDisk('a.img')).toEqual({ path: 'a.img' });
    expect(parseDisk('a.img,readonly,serial=root')).toEqual({
      path: 'a.img',
      readonly: true,
      serial: 'root',
    });
    expect(refusal(() => parseDisk('a.img,fast')).message).toContain("'fast'");
  });
});

describe('resolveConfig', () => {
  it('fills in defaults', () => {
    const config = resolveConfig({ kernel: 'k' });
    expect(config).toMatchObject({ vcpus: 2, memoryBytes: 512 * 2 ** 20, disks: [], debugExit: false });
  });

  it.each([
    ['no vCPU', { vcpus: 0 }, 'bad-config'],
    ['half a vCPU', { vcpus: 1.5 }, 'bad-config'],
    ['too many vCPUs', { vcpus: 65 }, 'bad-config'],
    ['hardly any memory', { memory: '4M' }, 'too-little-memory'],
    ['odd memory', { memory: 100_000_001 }, 'bad-config'],
    ['more memory than a wasm memory has', { memory: '8G' }, 'bad-config'],
    ['an endless command line', { append: 'x'.repeat(2048) }, 'bad-config'],
    ['a disk of no path', { disks: [{ path: '' }] }, 'bad-config'],
    ['a long serial', { disks: [{ path: 'a', serial: 'x'.repeat(21) }] }, 'bad-config'],
    ['no kernel', { kernel: '' }, 'bad-config'],
  ])('refuses %s with a fix', (_name, options, code) => {
    const error = refusal(() => resolveConfig({ kernel: 'k', ...options }));
    expect(error.code).toBe(code);
    expect(error.hint).toBeTruthy();
  });
});
