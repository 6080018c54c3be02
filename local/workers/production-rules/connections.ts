import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * "Simultaneous open connections: 6 … waiting for response headers", for each top-level request
 * (https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections).
 */
export const CONNECTIONS_MAX = 6;

/** The connections of one request that wait for response headers, and those that wait to begin. */
export class Connections {
  #free = CONNECTIONS_MAX;
  readonly #queue: (() => void)[] = [];

  /** Null when a connection may begin now, else the promise of its turn. */
  enter(): Promise<void> | null {
    if (this.#free > 0) {
      this.#free -= 1;
      return null;
    }
    return new Promise((resolve) => this.#queue.push(resolve));
  }

  /** To be called once for each turn, when the headers are there or nothing is to be expected. */
  leave(): void {
    // A turn that is handed on never becomes free, so nobody can slip in between.
    const next = this.#queue.shift();
    if (next) next();
    else this.#free += 1;
  }
}

const ofRequest = new AsyncLocalStorage<Connections>();

/** Runs the handler of one top-level request; `waitUntil` and all it begins belong to it. */
export function inRequest<T>(handler: () => T): T {
  return ofRequest.run(new Connections(), handler);
}

/** Of the request that we run in; null outside of any, where workerd itself forbids connections. */
export function currentConnections(): Connections | null {
  return ofRequest.getStore() ?? null;
}

/** Begins `open` when it is its turn; it counts until its promise settles. */
export async function connection<T>(open: () => Promise<T>): Promise<T> {
  const connections = currentConnections();
  if (!connections) return open();
  await connections.enter();
  try {
    return await open();
  } finally {
    connections.leave();
  }
}
