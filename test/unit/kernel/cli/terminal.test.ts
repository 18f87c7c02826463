import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EscapeKeys } from '#kernel/cli/terminal.js';

describe('EscapeKeys', () => {
  it('takes Ctrl-A sequences out and passes the rest', () => {
    const keys = new EscapeKeys();
    expect(keys.push(Buffer.from('ab\x01ac'))).toEqual({
      bytes: new Uint8Array([97, 98, 1, 99]),
      commands: [],
    });
    expect(keys.push(Buffer.from('\x01')).bytes).toHaveLength(0);
    expect(keys.push(Buffer.from('xq'))).toEqual({ bytes: new Uint8Array([113]), commands: ['quit'] });
    expect(keys.push(Buffer.from('\x01z')).bytes).toEqual(new Uint8Array([1, 122]));
  });

  it('does not care how the stream is cut', () => {
    const byte = fc.oneof(fc.constantFrom(1, 97, 120, 104), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(byte), fc.array(fc.nat(5)), (stream, cuts) => {
        const whole = new EscapeKeys().push(Uint8Array.from(stream));
        const keys = new EscapeKeys();
        const bytes: number[] = [];
        const commands: string[] = [];
        let at = 0;
        for (const n of [...cuts, stream.length]) {
          const part = keys.push(Uint8Array.from(stream.slice(at, at + n)));
          at += n;
          bytes.push(...part.bytes);
          commands.push(...part.commands);
        }
        expect(bytes).toEqual([...whole.bytes]);
        expect(commands).toEqual([...whole.commands]);
      }),
    );
  });
});
