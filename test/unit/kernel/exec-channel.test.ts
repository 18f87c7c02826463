import { describe, expect, it } from 'vitest';
import { ExecChannel } from '#kernel/exec-channel.js';
import {
  CONTROL_PORT,
  STDERR_PORT,
  STDIN_PORT,
  STDOUT_PORT,
  VERB_CLOSE,
  VERB_DATA,
  VERB_OPEN,
  messageKind,
} from '#actors/virtio-console/protocol.js';
import { TroupeError } from '#shared/base/error.js';

const CONTROL = messageKind(VERB_DATA, CONTROL_PORT);
const STDOUT = messageKind(VERB_DATA, STDOUT_PORT);
const STDERR = messageKind(VERB_DATA, STDERR_PORT);

/** A guest's init that runs commands as `respond` says. */
class FakeGuest {
  readonly lines: string[] = [];
  readonly stdin: string[] = [];
  readonly channel: ExecChannel;
  #listener: (kind: number, bytes: Uint8Array) => void | Promise<void> = () => {};
  #chain: Promise<void> = Promise.resolve();

  constructor(respond: (guest: FakeGuest, id: string, command: string, mark: string) => void) {
    this.channel = new ExecChannel({
      send: async (kind, bytes) => {
        const text = Buffer.from(bytes).toString();
        if (kind === messageKind(VERB_OPEN, STDIN_PORT)) this.stdin.push('<open>');
        else if (kind === messageKind(VERB_CLOSE, STDIN_PORT)) this.stdin.push('<close>');
        else if (kind === messageKind(VERB_DATA, STDIN_PORT)) this.stdin.push(text);
        else {
          this.lines.push(text);
          const [verb, id, ...words] = text.trim().split(' ');
          if (verb !== 'exec') return;
          const mark = words.find((w) => w.startsWith('mark='))!.slice(5);
          respond(this, id!, Buffer.from(words.at(-1)!, 'base64').toString(), mark);
        }
      },
      onOutput: (listener) => (this.#listener = listener),
    });
  }

  say(kind: number, text: string): void {
    this.#chain = this.#chain.then(() => this.#listener(kind, Buffer.from(text)));
  }
}

function collect() {
  const out: string[] = [];
  const err: string[] = [];
  return {
    out,
    err,
    onStdout: (b: Uint8Array) => void out.push(Buffer.from(b).toString()),
    onStderr: (b: Uint8Array) => void err.push(Buffer.from(b).toString()),
  };
}

describe('ExecChannel', () => {
  it('waits for the marks of both streams although the exit line overtakes them', async () => {
    const guest = new FakeGuest((g, id, command, mark) => {
      g.say(CONTROL, `exit ${id} 3\n`);
      g.say(STDERR, `warn${mark}`);
      g.say(STDOUT, command.slice(0, 2));
      g.say(STDOUT, command.slice(2) + mark.slice(0, 5));
      g.say(STDOUT, mark.slice(5));
    });
    guest.say(CONTROL, 'ready\n');
    const sinks = collect();
    expect(await guest.channel.run('hello', sinks)).toBe(3);
    expect(sinks.out.join('')).toBe('hello');
    expect(sinks.err.join('')).toBe('warn');
  });

  it('runs commands one after the other and feeds stdin to its end', async () => {
    const guest = new FakeGuest((g, id, _command, mark) => {
      setTimeout(() => {
        g.say(STDOUT, `${id}${mark}`);
        g.say(STDERR, mark);
        g.say(CONTROL, `exit ${id} 0\n`);
      }, 5);
    });
    async function* input() {
      yield Buffer.from('one ');
      yield Buffer.from('two');
    }
    const first = collect();
    const second = collect();
    const both = Promise.all([
      guest.channel.run('a', { ...first, stdin: input() }),
      guest.channel.run('b', second),
    ]);
    expect(guest.lines).toEqual([]);
    guest.say(CONTROL, 'ready\n');
    expect(await both).toEqual([0, 0]);
    expect(first.out.join('')).toBe('1');
    expect(second.out.join('')).toBe('2');
    expect(guest.stdin).toEqual(['<open>', 'one ', 'two', '<close>']);
    expect(guest.lines[0]).not.toContain('nostdin');
    expect(guest.lines[1]).toContain('nostdin');
  });

  it('kills a command that takes too long, and keeps the rest of its output from the next', async () => {
    const marks: string[] = [];
    const guest = new FakeGuest((g, id, command, mark) => {
      marks.push(mark);
      if (command === 'slow') return;
      g.say(STDOUT, `fast${mark}`);
      g.say(STDERR, mark);
      g.say(CONTROL, `exit ${id} 0\n`);
    });
    guest.say(CONTROL, 'ready\n');
    const slow = collect();
    await expect(guest.channel.run('slow', { ...slow, timeoutMs: 10 })).rejects.toMatchObject({
      code: 'timeout',
    });
    expect(guest.lines.at(-1)).toBe('kill 1 KILL\n');
    const fast = collect();
    const next = guest.channel.run('fast', fast);
    setTimeout(() => {
      guest.say(STDOUT, `late${marks[0]}`);
      guest.say(STDERR, marks[0]!);
      guest.say(CONTROL, 'exit 1 137\n');
    }, 10);
    expect(await next).toBe(0);
    expect([slow.out.join(''), fast.out.join('')]).toEqual(['', 'fast']);
  });

  it('fails what waits when the machine ends', async () => {
    const guest = new FakeGuest(() => {});
    guest.say(CONTROL, 'ready\n');
    const running = guest.channel.run('a');
    const waiting = guest.channel.run('b');
    setTimeout(() => guest.channel.end(new TroupeError('not-running', 'gone')), 5);
    await expect(running).rejects.toThrow('gone');
    await expect(waiting).rejects.toThrow('gone');
  });

  it('says so when the guest never comes up', async () => {
    const guest = new FakeGuest(() => {});
    await expect(guest.channel.ready(10)).rejects.toMatchObject({ code: 'timeout' });
  });
});
