import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { PlainObject } from './secret-manifests.ts';

/**
 * An API server whose cluster never changes: it lists what it was given, keeps what it is told, and its
 * watches say nothing. For a whole `causeway sync` where no real one can be had.
 */
export class StillApiServer implements AsyncDisposable {
  /** What was written: Events and statuses. */
  readonly written: string[] = [];
  readonly #server: Server;
  readonly #objects: readonly PlainObject[];
  #changed = Promise.withResolvers<void>();

  private constructor(server: Server, objects: readonly PlainObject[]) {
    this.#server = server;
    this.#objects = objects;
  }

  static async start(objects: readonly PlainObject[]): Promise<StillApiServer> {
    const http = createServer();
    const server = new StillApiServer(http, objects.map(asCreated));
    http.on('request', (request: IncomingMessage, response: ServerResponse) => {
      server.#answer(request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get kubeconfig(): string {
    const server = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'it',
      contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
      // The client takes plain HTTP only from those who say that they mean it.
      clusters: [{ name: 'it', cluster: { server, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'it', user: { token: 'token' } }],
    });
  }

  /** Waits until all of these texts were written. */
  async until(texts: readonly string[]): Promise<void> {
    const isThere = (it: string) => this.written.some((body) => body.includes(it));
    while (!texts.every(isThere)) await this.#changed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://server');
    const body = await text(request);
    if (body !== '') {
      this.written.push(body);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    if (searchParams.has('watch')) response.flushHeaders();
    else response.end(JSON.stringify(body === '' ? this.#read(pathname, searchParams) : {}));
  }

  #read(path: string, query: URLSearchParams): object {
    if (/^\/(api|apis\/[^/]+)\/[^/]+$/.test(path)) return { resources: RESOURCES };
    const [, namespace, plural = path.split('/').at(-1)] =
      /\/namespaces\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    const name = query.get('fieldSelector')?.replace('metadata.name=', '');
    const items = this.#objects.filter(
      ({ kind, metadata }) =>
        pluralOf(kind) === plural &&
        (namespace === undefined || metadata.namespace === namespace) &&
        (name === undefined || metadata.name === name),
    );
    return { metadata: { resourceVersion: '1' }, items };
  }
}

const RESOURCES = [
  ...['ingresses', 'ingressclasses', 'services', 'endpointslices', 'nodes', 'secrets'],
  ...['namespaces', 'configmaps', 'events'],
].map((name) => ({ name }));

function pluralOf(kind: string): string {
  return kind.toLowerCase() + (kind.endsWith('s') ? 'es' : 's');
}

/** With what a server adds to every object. */
function asCreated(object: PlainObject, index: number): PlainObject {
  const { name } = object.metadata;
  const created = {
    uid: `uid-${index}`,
    resourceVersion: '1',
    creationTimestamp: '2026-11-22T00:00:00Z',
  };
  return { ...object, metadata: { ...object.metadata, ...created, name } };
}
