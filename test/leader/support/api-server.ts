import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface StoredLease {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly spec: {
    readonly holderIdentity: string;
    readonly leaseDurationSeconds: number;
    readonly leaseTransitions: number;
    readonly acquireTime: string;
    readonly renewTime: string;
  };
}

/** An API server of an empty cluster, on a real socket, that keeps Leases as the real one does. */
export class EmptyApiServer {
  readonly leases = new Map<string, StoredLease>();
  readonly writes: { readonly method: string; readonly path: string }[] = [];
  /** Answers all calls for Leases with it. */
  refuseLeasesWith: number | null = null;
  readonly #server: Server;
  #version = 1;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<EmptyApiServer> {
    const http = createServer();
    const server = new EmptyApiServer(http);
    http.on('request', (request, response) => void server.#answer(request, response));
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get kubeconfig(): string {
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'it',
      contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
      clusters: [{ name: 'it', cluster: { server: this.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'it', user: { token: 'token' } }],
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    const body = await text(request);
    const method = request.method ?? 'GET';
    if (searchParams.has('watch')) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      return;
    }
    const isDiscovery = /^\/(api|apis\/[^/]+)\/[^/]+$/.test(pathname);
    const answer = pathname.includes('/leases')
      ? this.#lease(method, pathname, body)
      : { status: 200, body: isDiscovery ? DISCOVERY : EMPTY_LIST };
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer.body));
  }

  #lease(method: string, path: string, body: string): Answer {
    if (this.refuseLeasesWith !== null) return refusal(this.refuseLeasesWith, 'Refused');
    if (method !== 'GET') this.writes.push({ method, path });
    const sent = body ? (JSON.parse(body) as StoredLease) : null;
    const name = sent?.metadata.name ?? path.split('/').at(-1) ?? '';
    const kept = this.leases.get(name);
    if (method === 'POST' && kept) return refusal(409, 'AlreadyExists');
    if (method !== 'POST' && !kept) return refusal(404, 'NotFound');
    if (method === 'GET') return { status: 200, body: kept };
    if (method === 'PUT' && sent?.metadata.resourceVersion !== kept?.metadata.resourceVersion) {
      return refusal(409, 'Conflict');
    }
    const problem = sent && invalid(sent);
    if (!sent || problem) return refusal(422, problem ?? 'Invalid');
    const metadata = { ...sent.metadata, resourceVersion: String(++this.#version) };
    this.leases.set(name, { ...sent, metadata });
    return { status: method === 'POST' ? 201 : 200, body: this.leases.get(name) };
  }
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const RESOURCES = [
  ...['ingresses', 'ingressclasses', 'services', 'endpointslices', 'nodes', 'secrets'],
  ...['namespaces', 'configmaps', 'endpoints'],
];
const DISCOVERY = { resources: RESOURCES.map((name) => ({ name })) };
const EMPTY_LIST = { metadata: { resourceVersion: '1' }, items: [] };

/** What the real server insists on (MicroTime has six digits). */
function invalid({ spec }: StoredLease): string | null {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
  if (!time.test(spec.renewTime) || !time.test(spec.acquireTime)) return 'BadTime';
  if (!(spec.leaseDurationSeconds > 0) || spec.leaseTransitions < 0) return 'BadNumber';
  return null;
}

function refusal(code: number, reason: string): Answer {
  const message = `refused: ${reason}`;
  return { status: code, body: { kind: 'Status', code, reason, message } };
}
