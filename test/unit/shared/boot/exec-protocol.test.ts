import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ControlLines,
  EXEC_COMMAND_LIMIT_BYTES,
  formatExec,
  formatKill,
  OutputMark,
} from '#shared/boot/exec-protocol.js';

const MARK = 'aabaabaabaabaabc'; // overlaps itself, the hard case for a search in pieces

function cut(text: string, sizes: readonly number[]): Uint8Array[] {
  const bytes = Buffer.from(text, 'latin1');
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  pieces.push(bytes.subarray(at));
  return pieces;
}

const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\n'), maxLength: 60 });
const sizes = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 20 });

describe('OutputMark', () => {
  it('returns what is before and after the mark and nothing of it, however the stream is cut', () => {
    fc.assert(
      fc.property(text, text, sizes, (before, after, cuts) => {
        fc.pre(!(before + MARK).slice(0, -1).includes(MARK));
        const filter = new OutputMark(MARK);
        const out = cut(before + MARK + after, cuts).map((piece) =>
          Buffer.from(filter.push(piece)).toString('latin1'),
        );
        expect(out.join('')).toBe(before + after);
        expect(filter.seen).toBe(true);
      }),
    );
  });

  it('holds back at most a beginning of the mark, and gives it up at the end', () => {
    fc.assert(
      fc.property(text, sizes, (output, cuts) => {
        fc.pre(!output.includes(MARK));
        const filter = new OutputMark(MARK);
        const out = cut(output, cuts)
          .map((piece) => Buffer.from(filter.push(piece)).toString('latin1'))
          .join('');
        const held = Buffer.from(filter.flush()).toString('latin1');
        expect(out + held).toBe(output);
        expect(MARK.startsWith(held)).toBe(true);
        expect(filter.seen).toBe(false);
      }),
    );
  });
});

describe('control lines', () => {
  it('are cut into messages across chunks', () => {
    const lines = new ControlLines();
    const push = (chunk: string) => lines.push(Buffer.from(chunk));
    expect(push('rea')).toEqual([]);
    expect(push('dy\nexit 12 143\nex')).toEqual([{ kind: 'ready' }, { kind: 'exit', id: 12, code: 143 }]);
    expect(push('it 1\n')).toEqual([{ kind: 'unrecognised', line: 'exit 1' }]);
  });

  it('do not grow with a guest that never ends one', () => {
    const lines = new ControlLines();
    for (let i = 0; i < 100; i++) lines.push(new Uint8Array(1000).fill(0x78));
    const [message] = lines.push(Buffer.from('\n'));
    expect(message).toMatchObject({ kind: 'unrecognised' });
    expect((message as { line: string }).line.length).toBeLessThan(6000);
  });
});

describe('formatExec', () => {
  it('puts the command into one word', () => {
    expect(formatExec({ id: 3, command: 'echo é; exit 3' })).toBe('exec 3 nostdin ZWNobyDDqTsgZXhpdCAz\n');
    expect(formatExec({ id: 4, command: 'cat', stdin: true, mark: MARK })).toBe(`exec 4 mark=${MARK} Y2F0\n`);
    expect(formatExec({ id: 5, command: '' })).toBe('exec 5 nostdin Og==\n');
    expect(formatKill(5)).toBe('kill 5 TERM\n');
  });

  it('refuses what Linux would not run, and marks that would break the line', () => {
    expect(formatExec({ id: 1, command: 'x'.repeat(EXEC_COMMAND_LIMIT_BYTES) })).toMatch(/^exec/);
    expect(() => formatExec({ id: 1, command: 'x'.repeat(EXEC_COMMAND_LIMIT_BYTES + 1) })).toThrow(
      RangeError,
    );
    expect(() => formatExec({ id: 1, command: 'a\0b' })).toThrow(RangeError);
    expect(() => formatExec({ id: 1, command: 'a', mark: 'with space in it' })).toThrow(RangeError);
  });
});
