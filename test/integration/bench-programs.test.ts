// The programs of the guest benchmark, on the host itself: each row has one, computes what it must, and says so when it does not. No
// figure is judged.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseGuestLine } from '../../bench/guest/guest-lines.js';
import { ensureGuestProgram } from '../../bench/guest/program.js';
import { GUEST_ROWS } from '../../bench/guest/rows.js';

const SOURCES = fileURLToPath(new URL('../../bench/guest/programs', import.meta.url));
const QUICKLY = ['--warm-up', '1', '--measure', '1'];

function reasonToSkip(): string | undefined {
  if (process.arch !== 'x64') return 'the programs are for x86-64';
  if (spawnSync('gcc', ['--version']).error) return 'gcc is not installed: apt-get install gcc libc6-dev';
  return undefined;
}

const skip = reasonToSkip();
if (skip !== undefined) console.log(`bench-programs skipped: ${skip}`);

function run(program: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  const lines = stdout.split('\n').map(parseGuestLine);
  return { status, stderr, lines: lines.filter((line) => line !== undefined) };
}

describe.skipIf(skip !== undefined)('guest-bench', () => {
  const hasBusybox = skip === undefined && spawnSync('busybox').error === undefined;
  if (!hasBusybox) console.log('bench-programs: awk skipped: busybox is not installed');
  const rows = GUEST_ROWS.filter(({ by, name }) => by === 'guest' && (name !== 'awk' || hasBusybox));

  it.each(rows)('$name computes what it must', ({ name, unit }) => {
    const { status, lines } = run(ensureGuestProgram().path, [...QUICKLY, name]);
    expect(lines).toEqual([
      { kind: 'clock', ns: expect.any(Number) },
      { kind: 'value', name, value: expect.any(Number), unit },
      { kind: 'clock', ns: expect.any(Number) },
    ]);
    expect(status).toBe(0);
  });

  it('has no benchmark without a row', () => {
    const { status, stderr } = run(ensureGuestProgram().path, []);
    expect(status).toBe(2);
    const names = /names: (.*)/.exec(stderr)![1]!.split(' ');
    const known = GUEST_ROWS.filter(({ by }) => by === 'guest').map(({ name }) => name);
    expect(names.toSorted()).toEqual(known.toSorted());
  });

  it('calls a wrong result and a death wrong, and goes on', () => {
    const directory = mkdtempSync(join(tmpdir(), 'bench-programs-'));
    try {
      cpSync(SOURCES, directory, { recursive: true });
      const change = (file: string, from: string, to: string): void => {
        const text = readFileSync(join(directory, file), 'utf8');
        expect(text).toContain(from);
        writeFileSync(join(directory, file), text.replace(from, to));
      };
      change('integer.c', '0xa001', '0xa003');
      change('code.c', 'PROT_READ | PROT_WRITE | PROT_EXEC', 'PROT_READ | PROT_WRITE');
      const sources = readdirSync(directory).filter((name) => name.endsWith('.c'));
      const program = join(directory, 'wrong');
      const flags = ['-O2', '-static', '-pthread', '-o', program];
      const built = spawnSync('gcc', [...flags, ...sources], { cwd: directory, encoding: 'utf8' });
      expect(built.status, built.stderr).toBe(0);
      const { status, lines } = run(program, [...QUICKLY, 'integer', 'smc', 'getppid']);
      expect(lines.filter(({ kind }) => kind !== 'clock')).toEqual([
        { kind: 'wrong', name: 'integer', why: expect.stringMatching(/^crc got 0x\w+ want 0xa3d8$/) },
        { kind: 'wrong', name: 'smc', why: 'ended by signal 11' },
        { kind: 'value', name: 'getppid', value: expect.any(Number), unit: 'us' },
      ]);
      expect(status).toBe(1);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
