// How an actor's thread logs: lines of text, or pino's.
import { createRequire } from 'node:module';
import type { pino as Pino } from 'pino';
import type { ActorSeed } from '#shared/ipc/actor.js';
import { createLogger, createTextLogger, type Logger } from '#shared/ipc/log.js';

type LogSeed = Pick<ActorSeed, 'name' | 'generation' | 'logLevel' | 'logFd' | 'logFormat'>;

/** One line an event, with the actor's name and generation. pino loads with the first line: most actors never log. */
export function createActorLogger(seed: LogSeed): Logger {
  if (seed.logFormat === 'text')
    return createTextLogger(seed.logLevel, seed.name, (line) => appendTo(seed.logFd ?? 2, line));
  let pinoLogger: Logger | undefined;
  const load = (): Logger => {
    const pino = loadPino();
    const destination = pino.destination({ fd: seed.logFd ?? 2, sync: true });
    const base = { actor: seed.name, generation: seed.generation };
    pinoLogger = pino({ level: seed.logLevel, base }, destination) as Logger;
    return pinoLogger;
  };
  return createLogger(
    seed.logLevel,
    (level) => (fields, message) => (pinoLogger ?? load())[level](fields, message),
  );
}

function loadPino(): typeof Pino {
  return createRequire(import.meta.url)('pino') as typeof Pino;
}

const appenders = new Map<number, (line: string) => void>();

/** Appends to an open file, through pino's way to write: shared/ does no I/O of its own. */
export function appendTo(fd: number, line: string): void {
  let append = appenders.get(fd);
  if (append === undefined) {
    const destination = loadPino().destination({ fd, sync: true });
    append = (text) => void destination.write(text);
    appenders.set(fd, append);
  }
  append(line);
}
