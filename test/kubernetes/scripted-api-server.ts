import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { KubeConfig } from '@kubernetes/client-node';

export type Verb = 'list' | 'watch' | 'discovery' | 'post' | 'put' | 'patch' | 'delete';

/** As the API server sends it. */
export interface RawObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

/** One request that has arrived and waits for the test's answer. */
export class Call {
  readonly verb: Verb;
  readonly path: string;
  /** `services`; of a discovery the `group/version`. */
  readonly resource: string;
  readonly namespace: string | null;
  readonly query: URLSearchParams;
  /** What a write sent; `null` of other requests. */
  readonly body: Promise<unknown>;
  /** Resolves when the client has gone or the answer was sent whole. */
  readonly closed: Promise<void>;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url ?? '/', 'http://server');
    this.path = url.pathname;
    this.query = url.searchParams;
    const [, , ...group] = this.path.split('/');
    const rest = group.splice(this.path.startsWith('/apis/') ? 2 : 1);
    const namespaced = rest[0] === 'namespaces' && rest.length > 2;
    this.namespace = namespaced ? (rest[1] ?? null) : null;
    const resource = namespaced ? rest[2] : rest[0];
    this.resource = resource ?? group.join('/');
    this.verb = verbOf(request.method ?? '', resource !== undefined, this.query.has('watch'));
    // A client that goes away in the middle has sent nothing.
    this.body = text(request)
      .then((body) => (body === '' ? null : JSON.parse(body)))
      .catch(() => null);
    this.#response = response;
    this.closed = new Promise((resolve) => response.once('close', resolve));
  }

  get name(): string | null {
    return this.query.get('fieldSelector')?.replace('metadata.name=', '') ?? null;
  }

  json(status: number, body: unknown, headers: Record<string, string> = {}): void {
    this.#response.writeHead(status, { 'content-type': 'application/json', ...headers });
    this.#response.end(JSON.stringify(body));
  }

  refuse(code: number, reason: string, headers: Record<string, string> = {}): void {
    this.json(code, { kind: 'Status', code, reason, message: `scripted ${code}` }, headers);
  }

  page(items: readonly RawObject[] | null, resourceVersion: string, token = ''): void {
    const metadata = { resourceVersion, ...(token && { continue: token }) };
    // As the real one: the items have no apiVersion and no kind.
    const bare = items?.map(({ apiVersion: _a, kind: _k, ...item }) => item) ?? null;
    this.json(200, { metadata, items: bare });
  }

  /** Begins the answer to a watch. */
  accept(): this {
    this.#response.writeHead(200, { 'content-type': 'application/json' });
    this.#response.flushHeaders();
    return this;
  }

  event(type: string, object: unknown): this {
    return this.send(`${JSON.stringify({ type, object })}\n`);
  }

  bookmark(resourceVersion: string): this {
    return this.event('BOOKMARK', { metadata: { resourceVersion } });
  }

  expired(): this {
    return this.event('ERROR', {
      kind: 'Status',
      code: 410,
      reason: 'Expired',
      message: 'too old',
    });
  }

  send(text: string | Uint8Array): this {
    this.#response.write(text);
    return this;
  }

  end(): void {
    this.#response.end();
  }

  /** The connection breaks with a TCP reset. */
  reset(): void {
    this.#response.socket?.resetAndDestroy();
  }
}

function verbOf(method: string, isResource: boolean, watches: boolean): Verb {
  const write = (['post', 'put', 'patch', 'delete'] as const).find(
    (it) => it === method.toLowerCase(),
  );
  if (write) return write;
  if (!isResource) return 'discovery';
  return watches ? 'watch' : 'list';
}

type Watcher = { readonly call: Call; readonly wants: (object: RawObject) => boolean };

/** An API server on a real socket: every request waits for its script, but for what is ordinary. */
export class ScriptedApiServer {
  readonly calls: Call[] = [];
  readonly #server: Server;
  readonly #unclaimed: Call[] = [];
  readonly #waiting: { verb: Verb; resource: string; resolve: (call: Call) => void }[] = [];
  readonly #ordinary = new Map<string, RawObject[]>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #apis = new Map<string, readonly string[]>();
  #resourceVersion = 1000;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<ScriptedApiServer> {
    const http = createServer();
    const server = new ScriptedApiServer(http);
    http.on('request', (request, response) => {
      server.#receive(new Call(request, response));
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get kubeConfig(): KubeConfig {
    const { port } = this.#server.address() as AddressInfo;
    const kubeConfig = new KubeConfig();
    const server = `http://127.0.0.1:${port}`;
    // client-node allows plain http only together with this.
    const cluster = { name: 'scripted', server, skipTLSVerify: true };
    kubeConfig.loadFromClusterAndUser(cluster, { name: 'test', token: 'test-token' });
    return kubeConfig;
  }

  /** The next request of that kind that no test has taken yet. */
  next(verb: Verb, resource: string): Promise<Call> {
    const index = this.#unclaimed.findIndex((it) => it.verb === verb && it.resource === resource);
    const [call] = index < 0 ? [] : this.#unclaimed.splice(index, 1);
    if (call) return Promise.resolve(call);
    return new Promise((resolve) => this.#waiting.push({ verb, resource, resolve }));
  }

  /** Discovery answers by itself: the resources of each `group/version`, and 404 for the others. */
  discovers(apis: Record<string, readonly string[]>): void {
    for (const [groupVersion, resources] of Object.entries(apis)) {
      this.#apis.set(groupVersion, resources);
    }
  }

  /** Lists and watches of this resource answer by themselves, as a healthy server does. */
  serves(resource: string, objects: readonly RawObject[] = []): void {
    this.#ordinary.set(resource, [...objects]);
  }

  /** An object of an ordinary resource is added, changed or deleted. */
  emit(resource: string, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: RawObject): void {
    this.#resourceVersion += 1;
    const resourceVersion = String(this.#resourceVersion);
    const stamped = { ...object, metadata: { ...object.metadata, resourceVersion } };
    const isOther = ({ metadata }: RawObject) =>
      metadata.name !== object.metadata.name || metadata.namespace !== object.metadata.namespace;
    const others = (this.#ordinary.get(resource) ?? []).filter(isOther);
    this.#ordinary.set(resource, type === 'DELETED' ? others : [...others, stamped]);
    for (const { call, wants } of this.#watchers.get(resource) ?? []) {
      if (wants(stamped)) call.event(type, stamped);
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #receive(call: Call): void {
    this.calls.push(call);
    if (this.#answer(call)) return;
    const wanted = ({ verb, resource }: { verb: Verb; resource: string }) =>
      verb === call.verb && resource === call.resource;
    const [waiting] = this.#waiting.splice(this.#waiting.findIndex(wanted) >>> 0, 1);
    if (waiting) waiting.resolve(call);
    else this.#unclaimed.push(call);
  }

  #answer(call: Call): boolean {
    const { verb, resource } = call;
    if (verb === 'discovery' && this.#apis.size > 0) {
      const names = this.#apis.get(resource);
      if (names) call.json(200, { resources: names.map((name) => ({ name })) });
      else call.refuse(404, 'NotFound');
      return true;
    }
    const objects = this.#ordinary.get(resource);
    if (!objects || (verb !== 'list' && verb !== 'watch')) return false;
    const wants = ({ metadata }: RawObject) =>
      (call.namespace === null || call.namespace === metadata.namespace) &&
      (call.name === null || call.name === metadata.name);
    if (verb === 'list') {
      call.page(objects.filter(wants), String(this.#resourceVersion));
      return true;
    }
    this.#watch(call, wants);
    return true;
  }

  #watch(call: Call, wants: (object: RawObject) => boolean): void {
    const watchers = this.#watchers.get(call.resource) ?? new Set();
    this.#watchers.set(call.resource, watchers);
    const watcher = { call: call.accept(), wants };
    // What happened between the list and the watch.
    const since = Number(call.query.get('resourceVersion'));
    for (const object of this.#ordinary.get(call.resource) ?? []) {
      if (wants(object) && Number(object.metadata.resourceVersion ?? 0) > since) {
        call.event('MODIFIED', object);
      }
    }
    watchers.add(watcher);
    void call.closed.then(() => watchers.delete(watcher));
  }
}
