// The kernel process of launch(): opens one session, serves the parent's calls, and ends with its guest or its parent.
import { TroupeError } from '#shared/base/error.js';
import type { ChildCall, ChildMessage, ChildRequest } from './child-protocol.js';
import { yieldToActors } from './supervision/helper-threads.js';
import { Session } from './session.js';

let session: Session | undefined;
let ending = false;

yieldToActors();

function send(message: ChildMessage, whenSent: () => void = () => {}): void {
  if (process.connected) process.send!(message, undefined, undefined, whenSent);
}

async function open(options: ChildCall['open']): Promise<undefined> {
  const { readyMs, logLevel, verbose, ...machine } = options;
  const opened = await Session.open({
    ...machine,
    verbose,
    execPorts: true,
    serial: verbose === true ? 2 : 'none',
    console: 'none',
    onActorEvent: (event) => send({ kind: 'actor-event', event }),
    log: { level: logLevel ?? 'warn' },
  });
  session = opened;
  if (ending) {
    await endProcess();
    return undefined;
  }
  void opened.wait().then((exit) => {
    send({ kind: 'exit', exit }, () => void endProcess());
  });
  // A kernel of the caller's own need not serve commands.
  if (options.kernel === undefined) await opened.ready(readyMs);
  return undefined;
}

async function exec(id: number, { command, stdin, timeoutMs }: ChildCall['exec']): Promise<number> {
  async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  return need().exec(command, {
    timeoutMs,
    stdin: stdin === undefined ? undefined : once(stdin),
    onStdout: (bytes) => send({ kind: 'stdout', id, bytes }),
    onStderr: (bytes) => send({ kind: 'stderr', id, bytes }),
  });
}

function need(): Session {
  if (session === undefined) throw new TroupeError('not-running', 'the guest is not open');
  return session;
}

async function serve(request: ChildRequest): Promise<unknown> {
  switch (request.name) {
    case 'open':
      return open(request.argument);
    case 'exec':
      return exec(request.id, request.argument);
    case 'type':
      return need().type(request.argument);
    case 'pause':
      return need().pause();
    case 'resume':
      return need().resume();
    case 'actors':
      return need().actors();
    case 'engineStatistics':
      return need().engineStatistics();
    case 'kill':
      return need().kill(request.argument.actor, request.argument.force);
    case 'inject':
      return need().inject(request.argument);
  }
}

async function answer(request: ChildRequest): Promise<void> {
  const { id } = request;
  try {
    send({ kind: 'result', id, value: await serve(request) });
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error));
    const troupe = error instanceof TroupeError ? error : undefined;
    send({ kind: 'error', id, code: troupe?.code, message, hint: troupe?.hint });
  }
}

async function endProcess(): Promise<void> {
  ending = true;
  await session?.stop();
  process.exit(0);
}

process.on('message', (request) => void answer(request as ChildRequest));
process.on('disconnect', () => void endProcess());
// A terminal sends Ctrl-C to the whole group: the parent decides what it means.
process.on('SIGINT', () => {});
