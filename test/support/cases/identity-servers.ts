import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';

/** A request as a backend saw it. */
export interface SeenRequest {
  /** `namespace/service:port` */
  readonly backend: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What backends answer until told otherwise. */
export interface BackendAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly delayMs: number;
}

const PLAIN: BackendAnswer = { status: 200, headers: {}, delayMs: 0 };

/**
 * Real servers on 127.0.0.1, one for each node port of a case. What they saw is told beside the
 * answer, so that the answer is free to be what a case wants it to be.
 */
export class IdentityServers implements AsyncDisposable {
  answer: BackendAnswer = PLAIN;
  #seen: SeenRequest[] = [];
  readonly #servers: { readonly server: Server; backend: string }[] = [];

  /** A port for each backend; servers of earlier cases are used again. */
  async ports(backends: readonly string[]): Promise<readonly number[]> {
    for (let i = this.#servers.length; i < backends.length; i++) await this.#start();
    return backends.map((backend, index) => {
      const entry = this.#servers[index];
      if (!entry) throw new Error('a server was not started');
      entry.backend = backend;
      return (entry.server.address() as AddressInfo).port;
    });
  }

  /** What was seen since the last call. */
  take(): readonly SeenRequest[] {
    const seen = this.#seen;
    this.#seen = [];
    return seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { server } of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #start(): Promise<void> {
    const server = createServer((request, response) => this.#serve(request, response, entry));
    const entry = { server, backend: '' };
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.#servers.push(entry);
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    { backend }: { readonly backend: string },
  ): Promise<void> {
    const headers = Object.fromEntries(
      Object.entries(request.headersDistinct).map(([name, values]) => [
        name,
        (values ?? []).join(', '),
      ]),
    );
    this.#seen.push({ backend, method: request.method ?? '', path: request.url ?? '', headers });
    const { status, headers: own, delayMs } = this.answer;
    for await (const _ of request);
    if (delayMs > 0) await setTimeout(delayMs);
    response.writeHead(status, { 'content-type': 'text/plain', ...own } as Record<string, string>);
    response.end(`${backend}\n`);
  }
}

export function answerOf(given: {
  readonly status?: number | undefined;
  readonly headers?: BackendAnswer['headers'] | undefined;
  readonly delayMs?: number | undefined;
}): BackendAnswer {
  const { status = 200, headers = {}, delayMs = 0 } = given;
  return { status, headers, delayMs };
}
