// What the host does to a chaos guest besides breaking it: numbered lines for the workload's input, terminal sizes that change, and
// an ear for the serial line, of which each line must come once.
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Session } from '../session.js';
import { NumberedLines } from './numbered-lines.js';

const INPUT_MS = 10;
const RESIZE_MS = 100;

export class SerialFile {
  readonly fd: number;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    this.fd = openSync(path, 'w');
  }

  /** What is wrong with the lines, once the machine has ended; undefined when nothing is. */
  close(): string | undefined {
    closeSync(this.fd);
    const lines = new NumberedLines('u');
    lines.push(readFileSync(this.#path));
    return lines.fault === undefined ? undefined : `serial line: ${lines.fault}`;
  }
}

/** `i 1`, `i 2`, … until `isOver`. */
export async function* inputLines(isOver: () => boolean): AsyncGenerator<Uint8Array> {
  for (let n = 1; !isOver(); n++) {
    yield Buffer.from(`i ${n}\n`);
    await delay(INPUT_MS);
  }
}

/** The result ends it. */
export function resizeAgainAndAgain(session: Session): () => void {
  let n = 0;
  const timer = setInterval(() => session.resizeTerminal(80 + (n++ % 40), 25), RESIZE_MS);
  return () => clearInterval(timer);
}

/** Tells whether this process was stopped and continued meanwhile (by a debugger, a terminal): a guest then misses that time. */
export class StopWatch {
  wasStopped = false;
  readonly #note = (): void => {
    this.wasStopped = true;
  };

  constructor() {
    process.on('SIGCONT', this.#note);
  }

  close(): void {
    process.off('SIGCONT', this.#note);
  }
}
