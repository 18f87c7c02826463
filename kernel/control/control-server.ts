// A running guest's control socket: serves the calls of control-protocol.ts to its user, until the guest ends.
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { TroupeError } from '#shared/base/error.js';
import { checkFaultRule, type FaultRule } from '#shared/ipc/fault-plan.js';
import { makeSocketFolder, socketPath } from './guest-name.js';
import {
  MAX_LINE_BYTES,
  type ControlAnswer,
  type ControlRequest,
  type ControlResult,
} from './control-protocol.js';

export interface ControlTarget {
  actors(): ControlResult['actors'];
  inject(rule: FaultRule): void;
  kill(actor: string, force: boolean): Promise<void>;
}

export class ControlServer {
  readonly #server: Server;
  readonly #path: string;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  /** Listens under `name`. Rejects with `bad-config` when a guest of that name runs, or the name cannot be. */
  static async open(name: string, target: ControlTarget): Promise<ControlServer> {
    const path = socketPath(name);
    makeSocketFolder();
    if (await answers(path))
      throw new TroupeError('bad-config', `a guest called ${name} runs already`, 'choose another --name');
    rmSync(path, { force: true }); // of one that died
    const server = createServer();
    const control = new ControlServer(server, path);
    server.on('connection', (socket) => control.#serve(socket, target));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    server.unref();
    return control;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#path, { force: true });
  }

  #serve(socket: Socket, target: ControlTarget): void {
    this.#sockets.add(socket);
    socket.unref();
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    let last: Promise<void> = Promise.resolve();
    createInterface({ input: socket }).on('line', (line) => {
      if (line.length > MAX_LINE_BYTES) socket.destroy();
      else last = last.then(async () => void socket.write(`${JSON.stringify(await answer(line, target))}\n`));
    });
  }
}

async function answer(line: string, target: ControlTarget): Promise<ControlAnswer> {
  try {
    return { ok: true, value: (await carryOut(JSON.parse(line) as ControlRequest, target)) ?? null };
  } catch (error) {
    const { code = 'bad-config', hint } = error instanceof TroupeError ? error : { hint: undefined };
    return { ok: false, code, message: error instanceof Error ? error.message : String(error), hint };
  }
}

async function carryOut(request: ControlRequest, target: ControlTarget): Promise<unknown> {
  switch (request.name) {
    case 'actors':
      return target.actors();
    case 'inject':
      checkFaultRule(request.argument);
      return target.inject(request.argument);
    case 'kill':
      return target.kill(request.argument.actor, request.argument.force);
    default:
      throw new TroupeError(
        'bad-config',
        'this guest knows no such call',
        'use the version of troupe that runs it',
      );
  }
}

/** Whether somebody listens there. */
async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
