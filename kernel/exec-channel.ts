// Runs commands in the guest over the console's exec ports (shared/boot/exec-protocol.ts), one after the other: commands that
// ran at once would share the output ports.
import { randomBytes } from 'node:crypto';
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
import { startPatientTimer } from './patient-timer.js';
import { ControlLines, OutputMark, formatExec, formatKill } from '#shared/boot/exec-protocol.js';

type ByteSink = (bytes: Uint8Array) => void | Promise<void>;

export interface StreamedExec {
  readonly onStdout?: ByteSink | undefined;
  readonly onStderr?: ByteSink | undefined;
  /** What the command reads; without it, /dev/null. */
  readonly stdin?: AsyncIterable<Uint8Array> | undefined;
  /** Ends the command by SIGKILL after so long, and rejects with `timeout`. */
  readonly timeoutMs?: number | undefined;
}

/** The part of a machine that a channel needs. */
export interface ExecPorts {
  /** Resolves when there is room for more. */
  send(kind: number, bytes: Uint8Array): Promise<void>;
  onOutput(listener: (kind: number, bytes: Uint8Array) => void | Promise<void>): void;
}

interface RunningCommand {
  readonly id: number;
  readonly stdout: OutputMark;
  readonly stderr: OutputMark;
  readonly options: StreamedExec;
  code: number | undefined;
  /** Nobody waits for the output any more. */
  muted: boolean;
  /** Resolves to the exit code when all output has been seen. */
  readonly ended: Promise<number>;
  finish(): void;
  fail(error: Error): void;
}

const NOTHING = new Uint8Array(0);

function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

export class ExecChannel {
  readonly #ports: ExecPorts;
  readonly #lines = new ControlLines();
  readonly #ready: Promise<void>;
  #becomeReady: () => void = () => {};
  #failReady: (error: Error) => void = () => {};
  #ended: Error | undefined;
  #running: RunningCommand | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #nextId = 1;

  constructor(ports: ExecPorts) {
    this.#ports = ports;
    this.#ready = new Promise((resolve, reject) => {
      this.#becomeReady = resolve;
      this.#failReady = reject;
    });
    this.#ready.catch(() => {});
    ports.onOutput((kind, bytes) => this.#take(kind, bytes));
  }

  /** Resolves when the guest serves commands. */
  async ready(timeoutMs: number): Promise<void> {
    let endTimer = (): void => {};
    const late = new Promise<never>((_, reject) => {
      const message = `the guest did not come up to serve commands in ${timeoutMs / 1000} s`;
      const hint = 'look at its kernel log with --verbose; exec needs the stock guest';
      endTimer = startPatientTimer(timeoutMs, () => reject(new TroupeError('timeout', message, hint)));
    });
    try {
      await Promise.race([this.#ready, late]);
    } finally {
      endTimer();
    }
  }

  /** Runs a shell command after those that were asked before. Resolves to its exit code, 128 + n for signal n. */
  async run(command: string, options: StreamedExec = {}): Promise<number> {
    const started = this.#queue.then(() => this.#start(command, options));
    const ended = started.then((running) => running.ended);
    // A command that took too long is killed, and its streams are read to their marks before the next one starts.
    this.#queue = ended.catch(() => {});
    const { timeoutMs } = options;
    if (timeoutMs === undefined) return ended;
    const running = await started;
    let endTimer = (): void => {};
    const late = new Promise<never>((_, reject) => {
      endTimer = startPatientTimer(timeoutMs, () => {
        running.muted = true;
        this.#control(formatKill(running.id, 'KILL'));
        reject(new TroupeError('timeout', `the command took longer than ${timeoutMs} ms`));
      });
    });
    try {
      return await Promise.race([ended, late]);
    } finally {
      endTimer();
    }
  }

  /** The machine has ended: whoever waits fails with `error`. */
  end(error: Error): void {
    this.#ended ??= error;
    this.#failReady(error);
    this.#running?.fail(error);
  }

  async #start(command: string, options: StreamedExec): Promise<RunningCommand> {
    if (this.#ended !== undefined) throw this.#ended;
    await this.#ready;
    const id = this.#nextId++;
    const mark = randomBytes(16).toString('hex');
    const { promise, resolve, reject } = deferred<number>();
    const running: RunningCommand = {
      id,
      stdout: new OutputMark(mark),
      stderr: new OutputMark(mark),
      options,
      code: undefined,
      muted: false,
      ended: promise,
      finish: () => {
        this.#running = undefined;
        resolve(running.code!);
      },
      fail: reject,
    };
    promise.catch(() => {});
    this.#running = running;
    if (options.stdin !== undefined) void this.#ports.send(messageKind(VERB_OPEN, STDIN_PORT), NOTHING);
    this.#control(formatExec({ id, command, mark, stdin: options.stdin !== undefined }));
    if (options.stdin !== undefined) void this.#feed(id, options.stdin);
    return running;
  }

  #control(line: string): void {
    void this.#ports.send(messageKind(VERB_DATA, CONTROL_PORT), Buffer.from(line));
  }

  async #feed(id: number, stdin: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const bytes of stdin) {
        if (this.#running?.id !== id) return;
        if (bytes.length > 0) await this.#ports.send(messageKind(VERB_DATA, STDIN_PORT), bytes);
      }
    } finally {
      if (this.#running?.id === id) void this.#ports.send(messageKind(VERB_CLOSE, STDIN_PORT), NOTHING);
    }
  }

  async #take(kind: number, bytes: Uint8Array): Promise<void> {
    switch (kind) {
      case messageKind(VERB_DATA, CONTROL_PORT):
        for (const message of this.#lines.push(bytes)) {
          if (message.kind === 'ready') this.#becomeReady();
          else if (message.kind === 'exit' && message.id === this.#running?.id)
            this.#running.code = message.code;
        }
        break;
      case messageKind(VERB_DATA, STDOUT_PORT): {
        const running = this.#running;
        const output = running?.stdout.push(bytes) ?? NOTHING;
        if (output.length > 0 && running?.muted === false) await running.options.onStdout?.(output);
        break;
      }
      case messageKind(VERB_DATA, STDERR_PORT): {
        const running = this.#running;
        const output = running?.stderr.push(bytes) ?? NOTHING;
        if (output.length > 0 && running?.muted === false) await running.options.onStderr?.(output);
        break;
      }
    }
    const running = this.#running;
    if (running?.code !== undefined && running.stdout.seen && running.stderr.seen) running.finish();
  }
}
