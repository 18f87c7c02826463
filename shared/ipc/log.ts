// The log as actors and the kernel see it: one line an event, fields first, message last, as pino takes them. Here only
// the shape; the threads that log make a pino (shared/ipc/actor.ts, kernel/log.ts).

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

type LogVerb = (fields: Record<string, unknown>, message: string) => void;

export interface Logger {
  readonly trace: LogVerb;
  readonly debug: LogVerb;
  readonly info: LogVerb;
  readonly warn: LogVerb;
  readonly error: LogVerb;
  readonly fatal: LogVerb;
}

const nothing: LogVerb = () => {};

/** For tests. */
export const silentLogger: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
};
