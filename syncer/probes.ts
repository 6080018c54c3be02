import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Router } from 'itty-router';

export interface ProbeOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** What is wrong, or `null`: a process that is not alive is started anew. */
  readonly live: () => string | null;
  /** What is wrong, or `null`. */
  readonly ready: () => string | null;
  readonly metrics: { readonly contentType: string; metrics(): Promise<string> };
}

interface Answer {
  readonly status: number;
  readonly contentType?: string;
  readonly body: string;
}

const TEXT = 'text/plain; charset=utf-8';
/** A scrape is one small request; whoever takes longer holds a socket. */
const REQUEST_TIMEOUT_MS = 10_000;

/** `GET /healthz`, `/readyz` and `/metrics`, for the kubelet and Prometheus. */
export class Probes {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @throws Error when the port cannot be had */
  static async start(options: ProbeOptions): Promise<Probes> {
    const router = routes(options);
    const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
      const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
      // The host plays no part, and the path is all that is read of what a stranger sends.
      const path = (request.url ?? '/').split('?')[0];
      router
        .fetch({ method, url: `http://probes${path}` })
        .catch((error) => ({ status: 500, body: String(error) }))
        .then((answer: Answer) => send(response, answer));
    });
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(
          new Error(`cannot listen on ${host}:${port} for probes: ${cause.message}`, { cause }),
        ),
      );
      server.listen(port, host, resolve);
    });
    return new Probes(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function routes({ live, ready, metrics }: ProbeOptions) {
  return Router<{ method: string; url: string }, []>()
    .get('/healthz', () => verdict(live()))
    .get('/readyz', () => verdict(ready()))
    .get('/metrics', async () => ({
      status: 200,
      contentType: metrics.contentType,
      body: await metrics.metrics(),
    }))
    .all('*', ({ method }) =>
      method === 'GET'
        ? { status: 404, body: 'there are /healthz, /readyz and /metrics\n' }
        : { status: 405, body: 'only GET\n' },
    );
}

function verdict(complaint: string | null): Answer {
  return complaint === null
    ? { status: 200, body: 'ok\n' }
    : { status: 503, body: `${complaint}\n` };
}

function send(response: ServerResponse, { status, contentType = TEXT, body }: Answer): void {
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
