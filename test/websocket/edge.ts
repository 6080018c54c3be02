import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { type ClientOptions, WebSocket } from 'ws';
import { bundleWorker } from '../../local/bundle.ts';
import { Peer } from './peer.ts';

export interface OpenOptions extends ClientOptions {
  readonly protocols?: string[];
  /** Of `bridge`. */
  readonly closeTimeoutMs?: number;
}

/** A client's connection through the worker. */
export interface Connection {
  readonly client: Peer;
  /** What `bridge` resolves with. */
  readonly ending: Promise<unknown>;
}

/** workerd with the worker of this folder. */
export interface Edge extends AsyncDisposable {
  readonly url: URL;
  /** The address of a connection to this port, and what `bridge` will make of it. */
  route(port: number, closeTimeoutMs?: number): { url: URL; ending: Promise<unknown> };
}

export async function startEdge(): Promise<Edge> {
  const endings = new Map<string, (ending: unknown) => void>();
  const miniflare = await startWorker((id, ending) => endings.get(id)?.(ending));
  const base = await miniflare.unsafeGetDirectURL('bridge');
  return {
    url: base,
    route(port, closeTimeoutMs = 10_000) {
      const id = String(endings.size);
      const { promise: ending, resolve } = Promise.withResolvers<unknown>();
      endings.set(id, resolve);
      const url = new URL(`?id=${id}&port=${port}&closeTimeoutMs=${closeTimeoutMs}`, base);
      url.protocol = 'ws:';
      return { url, ending };
    },
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}

/** Resolves when the handshake is done. */
export async function open(
  edge: Edge,
  port: number,
  { protocols = [], closeTimeoutMs, ...options }: OpenOptions = {},
): Promise<Connection> {
  const { url, ending } = edge.route(port, closeTimeoutMs);
  const client = new Peer(new WebSocket(url, protocols, options));
  await once(client.socket, 'open');
  return { client, ending };
}

async function startWorker(report: (id: string, ending: unknown) => void): Promise<Miniflare> {
  const contents = await bundleWorker(fileURLToPath(new URL('worker.js', import.meta.url)));
  const worker = {
    name: 'bridge',
    modules: [{ type: 'ESModule' as const, path: 'worker.mjs', contents }],
    compatibilityDate: '2026-11-01',
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    serviceBindings: {
      REPORT: async (request: { readonly url: string; json(): Promise<unknown> }) => {
        report(new URL(request.url).pathname.slice(1), await request.json());
        return new Response();
      },
    },
  };
  return new Miniflare(convertV4MiniflareOptions({ workers: [worker] }));
}
