// The lines that a host and the initramfs's `/init` exchange over the virtio-console port `troupe.control`, and how a
// host knows that it has seen all of a command's output. One line is one message, ended by a newline:
//   host → guest  exec <id> [nostdin] [mark=<word>] <base64 of a shell command>   kill <id> [signal]   poweroff   reboot
//   guest → host  ready   exit <id> <code, 128 + n for signal n>   unknown <verb>
// A command reads the port `troupe.stdin` (or /dev/null), whose end of file is the host closing the port, and writes the
// ports `troupe.stdout` and `troupe.stderr`. Ports are queues of their own, so an exit line may overtake output: after
// the last byte init writes the mark to both, and a host waits for both marks. Commands that run at once share ports.

export const PORT_CONTROL = 'troupe.control';
export const PORT_STDOUT = 'troupe.stdout';
export const PORT_STDERR = 'troupe.stderr';
export const PORT_STDIN = 'troupe.stdin';

/** Linux hands a program no argument above 128 KiB (MAX_ARG_STRLEN). */
export const EXEC_COMMAND_LIMIT_BYTES = 131_071;

/** A guest's line is a number or two; a longer one is not init's. */
const CONTROL_LINE_LIMIT_CHARS = 4096;

export interface ExecRequest {
  id: number;
  command: string;
  /** Unlikely to be in any output, at least 16 letters and digits; see {@link OutputMark}. */
  mark?: string;
  /** Whether the command reads the stdin port; otherwise /dev/null. */
  stdin?: boolean;
}

export type ControlMessage =
  { kind: 'ready' } | { kind: 'exit'; id: number; code: number } | { kind: 'unrecognised'; line: string };

/** The line that starts a command; throws a RangeError when the command is too long for Linux or has a NUL in it. */
export function formatExec({ id, command, mark, stdin }: ExecRequest): string {
  const bytes = Buffer.from(command === '' ? ':' : command); // an empty command still needs its word
  if (bytes.length > EXEC_COMMAND_LIMIT_BYTES) {
    throw new RangeError(`a command has at most ${EXEC_COMMAND_LIMIT_BYTES} bytes, this one ${bytes.length}`);
  }
  if (bytes.includes(0)) throw new RangeError('a command cannot contain a NUL byte');
  if (mark !== undefined && !/^[A-Za-z0-9]{16,}$/.test(mark)) throw new RangeError(`not a mark: '${mark}'`);
  const words = ['exec', String(id)];
  if (stdin !== true) words.push('nostdin');
  if (mark !== undefined) words.push(`mark=${mark}`);
  words.push(bytes.toString('base64'));
  return `${words.join(' ')}\n`;
}

/** The line that signals a command's whole session. */
export function formatKill(id: number, signal: 'TERM' | 'KILL' | 'HUP' | 'USR1' | 'USR2' = 'TERM'): string {
  return `kill ${id} ${signal}\n`;
}

/** Cuts what arrives on the control port into messages. */
export class ControlLines {
  #rest = '';

  push(chunk: Uint8Array): ControlMessage[] {
    const lines = (this.#rest + Buffer.from(chunk).toString('latin1')).split('\n');
    this.#rest = lines.pop()!.slice(0, CONTROL_LINE_LIMIT_CHARS);
    return lines.map(parseControlLine);
  }
}

function parseControlLine(line: string): ControlMessage {
  if (line === 'ready') return { kind: 'ready' };
  const exit = /^exit (\d+) (\d+)$/.exec(line);
  if (exit) return { kind: 'exit', id: Number(exit[1]), code: Number(exit[2]) };
  return { kind: 'unrecognised', line };
}

const NOTHING = new Uint8Array(0);

/** Finds the mark in one output port's stream, however it is cut, and keeps it from the reader. */
export class OutputMark {
  readonly #mark: Uint8Array;
  #held: Uint8Array = NOTHING;
  #seen = false;

  constructor(mark: string) {
    this.#mark = new TextEncoder().encode(mark);
  }

  /** The mark has come: all the command's output has been returned by {@link push}. */
  get seen(): boolean {
    return this.#seen;
  }

  /** The bytes that are output for certain; what may be the mark's beginning is held back. */
  push(chunk: Uint8Array): Uint8Array {
    if (this.#seen) return chunk; // of processes that the command left behind
    const bytes = new Uint8Array(this.#held.length + chunk.length);
    bytes.set(this.#held);
    bytes.set(chunk, this.#held.length);
    for (let at = bytes.indexOf(this.#mark[0]!); at >= 0; at = bytes.indexOf(this.#mark[0]!, at + 1)) {
      const rest = bytes.subarray(at, at + this.#mark.length);
      if (!rest.every((byte, i) => byte === this.#mark[i])) continue;
      if (rest.length < this.#mark.length) {
        this.#held = rest.slice();
        return bytes.subarray(0, at);
      }
      this.#seen = true;
      this.#held = NOTHING;
      const output = new Uint8Array(bytes.length - this.#mark.length);
      output.set(bytes.subarray(0, at));
      output.set(bytes.subarray(at + this.#mark.length), at);
      return output;
    }
    this.#held = NOTHING;
    return bytes;
  }

  /** What is held back when the guest ended before its mark came. */
  flush(): Uint8Array {
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }
}
