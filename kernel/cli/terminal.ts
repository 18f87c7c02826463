// The user's terminal while a guest has it: raw mode, Ctrl-A as QEMU has it, and the way back, which must happen on every
// road out of the process.

const CTRL_A = 0x01;
const QUIT = 'x'.charCodeAt(0);
const HELP = 'h'.charCodeAt(0);
const LITERAL = 'a'.charCodeAt(0);
const MONITOR = 'c'.charCodeAt(0);

/** What a burst of keys comes to. */
export interface Keys {
  readonly bytes: Uint8Array;
  readonly commands: readonly ('quit' | 'help' | 'monitor')[];
}

/** Takes Ctrl-A sequences out of the stream of keys, however it is cut. */
export class EscapeKeys {
  #escaped = false;

  push(chunk: Uint8Array): Keys {
    const bytes: number[] = [];
    const commands: ('quit' | 'help' | 'monitor')[] = [];
    for (const byte of chunk) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else bytes.push(byte);
        continue;
      }
      this.#escaped = false;
      if (byte === QUIT) commands.push('quit');
      else if (byte === HELP) commands.push('help');
      else if (byte === MONITOR) commands.push('monitor');
      else if (byte === LITERAL || byte === CTRL_A) bytes.push(CTRL_A);
      else bytes.push(CTRL_A, byte);
    }
    return { bytes: Uint8Array.from(bytes), commands };
  }
}

export interface TerminalUser {
  onKeys(bytes: Uint8Array): void;
  onQuit(): void;
  /** Columns and rows. */
  onResize(columns: number, rows: number): void;
}

const KEYS_HELP = 'Ctrl-A x  quit\r\nCtrl-A a  send Ctrl-A\r\nCtrl-A h  this text\r\n';

/** Tells the size of the terminal; one of no size (a pipe, a bare pseudo-terminal) has none to tell. */
export function reportSize(user: TerminalUser): void {
  const { columns, rows } = process.stdout;
  if (columns > 0 && rows > 0) user.onResize(columns, rows);
}

/** Gives stdin to the guest; returns how to take it back. Works without a terminal too: then bytes pass as they are. */
export function attachTerminal(user: TerminalUser): () => void {
  const { stdin, stdout, stderr } = process;
  const keys = new EscapeKeys();
  const isTerminal = stdin.isTTY === true;
  const onData = (chunk: Uint8Array): void => {
    if (!isTerminal) {
      user.onKeys(chunk);
      return;
    }
    const { bytes, commands } = keys.push(chunk);
    if (bytes.length > 0) user.onKeys(bytes);
    for (const command of commands) {
      if (command === 'quit') user.onQuit();
      else if (command === 'help') stderr.write(KEYS_HELP);
      else stderr.write('there is no monitor yet\r\n');
    }
  };
  const onResize = (): void => reportSize(user);
  const restore = (): void => {
    if (isTerminal) stdin.setRawMode(false);
  };
  if (isTerminal) stdin.setRawMode(true);
  stdin.on('data', onData);
  if (stdout.isTTY === true) {
    stdout.on('resize', onResize);
  }
  process.on('exit', restore);
  return () => {
    stdin.off('data', onData);
    stdout.off('resize', onResize);
    process.off('exit', restore);
    restore();
    stdin.pause();
  };
}
