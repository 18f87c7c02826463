// The kernel's own log: pino, one line an event, as the actors write it (shared/ipc/actor.ts); or plain lines for a person.
import { pino } from 'pino';
import { createTextLogger, type Logger } from '#shared/ipc/log.js';
import type { LogConfig } from './machine-config.js';

export function createKernelLogger(config: LogConfig): Logger {
  const destination = pino.destination({ fd: config.fd, sync: true });
  if (config.format === 'text') return withoutDeaths(config, (line) => void destination.write(line));
  return pino({ level: config.level, base: { actor: 'kernel', generation: 1 } }, destination);
}

/** A person hears of an actor's end together with its replacement (cli/actor-news.ts): the machine's events tell both. */
function withoutDeaths(config: LogConfig, write: (line: string) => void): Logger {
  const logger = createTextLogger(config.level, 'kernel', write);
  return {
    ...logger,
    warn: (fields, message) => ('child' in fields ? undefined : logger.warn(fields, message)),
  };
}
