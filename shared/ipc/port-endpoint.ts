// A message port of node:worker_threads as comlink wants it, by structure: shared/ imports no module of Node for it.
import type * as Comlink from 'comlink';

export interface ActorPort {
  postMessage(message: unknown, transfer?: readonly never[]): void;
  on(event: 'message', listener: (data: unknown) => void): unknown;
  off(event: 'message', listener: (data: unknown) => void): unknown;
  close(): void;
}

/** Comlink's view of a MessagePort of node:worker_threads. */
export function portEndpoint(port: ActorPort): Comlink.Endpoint {
  const listeners = new Map<unknown, (data: unknown) => void>();
  return {
    postMessage: (message: unknown, transfer?: unknown[]) =>
      port.postMessage(message, transfer as readonly never[] | undefined),
    addEventListener: (_type, listener) => {
      const forward = (data: unknown): void => {
        const event = { data } as MessageEvent;
        if ('handleEvent' in listener) listener.handleEvent(event);
        else listener(event);
      };
      listeners.set(listener, forward);
      port.on('message', forward);
    },
    removeEventListener: (_type, listener) => {
      const forward = listeners.get(listener);
      if (forward !== undefined) port.off('message', forward);
      listeners.delete(listener);
    },
  };
}
