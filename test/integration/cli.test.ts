// The troupe command and what users get wrong: one clear line on stderr that says what to do, exit code 2, and no guest.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const troupe = fileURLToPath(new URL('../../bin/troupe.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'troupe-cli-'));
const text = join(directory, 'notes.txt');
const truncated = join(directory, 'bzImage');
writeFileSync(text, 'not a kernel\n'.repeat(1000));
const header = new Uint8Array(0x400);
header.set([0x55, 0xaa], 0x1fe);
header.set(Buffer.from('HdrS'), 0x202);
writeFileSync(truncated, header);
afterAll(() => rmSync(directory, { recursive: true }));

function runTroupe(args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  return spawnSync(process.execPath, [troupe, ...args], {
    env,
    encoding: 'utf8',
    input: '',
    timeout: 60_000,
  });
}

describe('troupe', () => {
  it.each([
    ['an unknown command', ['fly'], /no command 'fly'/],
    ['an unknown flag', ['run', '--cpus', '4'], /--cpus/],
    ['a flag without its value', ['run', '--memory'], /--memory/],
    ['a vCPU count that is none', ['run', '--smp', 'many'], /--smp many/],
    ['too many vCPUs', ['run', '--smp', '1000'], /1000 vCPUs.*--smp 1 to 64/],
    ['too little memory', ['run', '--memory', '8M'], /too little.*--memory/],
    ['too much memory', ['run', '--memory', '64G'], /too much.*--memory/],
    ['a kernel that is not there', ['run', '--kernel', '/no/kernel'], /\/no\/kernel: there is no such file/],
    ['a kernel that is none', ['run', '--kernel', text], /neither a bzImage nor an ELF/],
    ['a truncated bzImage', ['run', '--kernel', truncated], /kernel/],
    ['an initrd that is not there', ['run', '--kernel', text, '--initrd', '/no/initrd'], /\/no\/initrd/],
    ['a disk that is not there', ['run', '--kernel', text, '--disk', '/no/disk'], /\/no\/disk/],
    ['a disk option', ['run', '--disk', 'a.img,turbo'], /'turbo'.*--disk FILE/],
    ['a log file in no directory', ['run', '--kernel', text, '--log-file', '/no/dir/log'], /--log-file/],
    [
      'a fault of nobody',
      ['run', '--kernel', text, '--fault', 'nobody: crash'],
      /no actor nobody; there are vcpu-0, /,
    ],
    [
      'a disk of a guest without',
      ['run', '--kernel', text, '--fault', 'virtio-blk: hang'],
      /no actor virtio-blk/,
    ],
    [
      'a failpoint of others',
      ['run', '--kernel', text, '--fault', 'vcpu: crash at tick'],
      /vcpu never passes tick; it passes loop, start, run, /,
    ],
    ['a fault without a guest', ['fault'], /GUEST ACTOR FAULT/],
    ['no fault', ['fault', 'web', 'vcpu-0'], /which fault of vcpu-0\?; use one of crash/],
    ['too many guests', ['actors', 'web', 'mail'], /'mail' is too much/],
    ['a trace channel', ['run', '--trace', 'all'], /--trace all.*exec, mmio/],
  ])('refuses %s in one line, with exit code 2', (_name, args, message) => {
    const { status, stdout, stderr } = runTroupe(args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('says what to do on a host without apt', () => {
    const { status, stderr } = runTroupe(['run'], { PATH: '/nonexistent', XDG_CACHE_HOME: directory });
    expect(stderr).toMatch(/apt/);
    expect(stderr).toMatch(/--kernel/);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(status).toBe(2);
  });

  it('helps', () => {
    expect(runTroupe(['run', '--help']).stdout).toContain('--initrd FILE');
    expect(runTroupe(['help']).status).toBe(0);
    expect(runTroupe(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
