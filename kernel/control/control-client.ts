// The other end of a guest's control socket.
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { TroupeError } from '#shared/base/error.js';
import { guestNames, socketPath } from './guest-name.js';
import type { ControlAnswer, ControlCall, ControlCallName, ControlResult } from './control-protocol.js';

export class GuestControl {
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<string>;

  private constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#answers = lines[Symbol.asyncIterator]();
  }

  /** Rejects with `not-running` when there is no guest of that name. */
  static async connect(name: string): Promise<GuestControl> {
    const socket = connect(socketPath(name));
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) => reject(noGuest(name, cause)));
    });
    socket.on('error', () => {}); // a call finds the stream ended
    return new GuestControl(socket, createInterface({ input: socket }));
  }

  /** One call at a time. Rejects with the guest's TroupeError, or `not-running` when it has ended. */
  async call<N extends ControlCallName>(name: N, argument: ControlCall[N]): Promise<ControlResult[N]> {
    this.#socket.write(`${JSON.stringify({ name, argument })}\n`);
    const answer = JSON.parse(await this.#nextLine()) as ControlAnswer;
    if (!answer.ok) throw new TroupeError(answer.code, answer.message, answer.hint);
    return answer.value as ControlResult[N];
  }

  async #nextLine(): Promise<string> {
    let cause: unknown;
    try {
      const { done, value } = await this.#answers.next();
      if (done !== true) return value;
    } catch (error) {
      cause = error; // the connection broke
    }
    throw new TroupeError('not-running', 'the guest has ended', undefined, { cause });
  }

  close(): void {
    this.#socket.destroy();
  }
}

function noGuest(name: string, cause: unknown): TroupeError {
  const others = guestNames().filter((other) => other !== name);
  const hint =
    others.length === 0 ? 'start one with troupe run --name NAME' : `these run: ${others.join(', ')}`;
  return new TroupeError('not-running', `no guest called ${name} runs`, hint, { cause });
}
