import {
  type ClientRequest,
  createServer,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingMessage,
  type Server,
  ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { pipeline } from 'node:stream';

/**
 * Stands where Cloudflare's network stands in production: takes the client's connection, says who
 * the client is and which scheme it used, and hands the request to the worker.
 *
 * The worker's socket speaks the absolute form (RFC 9112 section 3.2.2), so that `Request.url` has
 * scheme, host and path as the client sent them, as in production.
 */
export interface Front {
  readonly server: Server;
  readonly port: number;
  close(): Promise<void>;
}

/** Headers that Cloudflare sets and a client cannot: here they are the front's to set. */
function isEdgeHeader(name: string): boolean {
  return name.startsWith('cf-') || name === 'cdn-loop' || name === 'true-client-ip';
}

/** What Cloudflare takes each way. A request with more gets 431 from Node, as from it. */
const HEADERS_BYTES_MAX = 128 * 1024;

/** Headers about the connection to one of our sides, which Node writes itself for the other. */
const OF_THE_CONNECTION = new Set(['keep-alive', 'proxy-connection', 'trailer']);

export async function startFront(
  worker: { readonly host: string; readonly port: number },
  listen: { readonly host: string; readonly port: number },
): Promise<Front> {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const limits = { maxHeaderSize: HEADERS_BYTES_MAX, requestTimeout: 0 };
  const server = createServer({ ...limits, shouldUpgradeCallback: isWebSocket });
  // Node would drop all beyond 2000 in silence, and with them perhaps one that frames the body.
  server.maxHeadersCount = 0;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const target = targetOf(request);
    if (target) relay(request, response, { ...worker, ...target, agent });
    else refuse(response);
  });
  server.on('upgrade', (request: IncomingMessage, client: Socket, head: Buffer) => {
    const target = targetOf(request);
    const response = responseOn(client, request);
    if (target) relayUpgrade(request, response, head, { ...worker, ...target });
    else refuse(response);
  });
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(error, listen));
    server.once('error', fail);
    server.listen(listen.port, listen.host, () => {
      server.off('error', fail);
      resolve();
    });
  });
  return {
    server,
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
        agent.destroy();
      }),
  };
}

/** The two that everybody meets, in words that say what to do. */
function listenError(
  error: NodeJS.ErrnoException,
  { host, port }: { readonly host: string; readonly port: number },
): Error {
  if (error.code === 'EADDRINUSE') {
    return new Error(`port ${port} of ${host} is already in use; choose another with --http-port`);
  }
  if (error.code === 'EACCES') {
    return new Error(`port ${port} needs more rights than we have; choose one with --http-port`);
  }
  return error;
}

interface Target {
  /** Absolute form. */
  readonly path: string;
  readonly headers: string[];
}

interface Destination extends Target {
  readonly host: string;
  readonly port: number;
}

/** Null when there is no usable Host (RFC 9112 section 3.2: 400). */
function targetOf(request: IncomingMessage): Target | null {
  const hosts = request.headersDistinct.host ?? [];
  const [host = ''] = hosts;
  const url = request.url ?? '';
  // The absolute form overrides Host; Cloudflare answers such requests for hosts of the zone alike.
  const absolute = /^https?:\/\/([^/?#]+)(.*)$/i.exec(url);
  const authority = absolute?.[1] ?? host;
  if (hosts.length !== 1 || !/^[A-Za-z0-9.\-_:[\]]+$/.test(authority)) return null;
  const rest = absolute ? absolute[2] || '/' : url;
  if (!rest.startsWith('/') && !rest.startsWith('?')) return null;
  return { path: `http://${authority}${rest}`, headers: headersFor(request, authority) };
}

function headersFor(request: IncomingMessage, authority: string): string[] {
  const headers: string[] = [];
  for (const [name, value] of pairs(request.rawHeaders)) {
    const lower = name.toLowerCase();
    if (isEdgeHeader(lower) || OF_THE_CONNECTION.has(lower)) continue;
    if (lower === 'host' || lower === 'cookie' || lower === 'upgrade') continue;
    headers.push(name, value);
  }
  // Node has joined several as RFC 6265 section 5.4 wants it; the worker would get them as a list.
  const { cookie, upgrade } = request.headers;
  if (cookie !== undefined) headers.push('Cookie', cookie);
  if (upgrade !== undefined && isWebSocket(request)) headers.push('Upgrade', upgrade);
  // Otherwise Node would send a chunked body of no chunks.
  if (!hasBody(request) && !METHODS_WITHOUT_CONTENT.has(request.method ?? '')) {
    headers.push('Content-Length', '0');
  }
  headers.push('Host', authority, 'CF-Connecting-IP', clientAddress(request.socket));
  return headers;
}

/** The only upgrade that there is; others are ignored, as RFC 9110 section 7.8 allows. */
function isWebSocket({ method, headers }: IncomingMessage): boolean {
  const names = (value: string | undefined, member: string) =>
    (value ?? '').split(',').some((it) => it.trim().toLowerCase() === member);
  return (
    method === 'GET' && names(headers.connection, 'upgrade') && names(headers.upgrade, 'websocket')
  );
}

const METHODS_WITHOUT_CONTENT = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/** RFC 9112 section 6.3: a request without either header has none. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

function clientAddress(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
}

function relay(
  request: IncomingMessage,
  response: ServerResponse,
  destination: Destination & { readonly agent: HttpAgent },
): void {
  const upstream = ask(request, response, destination);
  if (!upstream) return;
  request.on('error', () => abandon(upstream));
  // Otherwise the head waits for the first bytes of the body, which may wait for an answer.
  if (hasBody(request)) flushHead(upstream);
  request.pipe(upstream);
}

/** Sends the head of a request, and relays whatever answer comes but a 101. */
function ask(
  request: IncomingMessage,
  response: ServerResponse,
  options: Destination & { readonly agent: HttpAgent | false },
): ClientRequest | null {
  const { method = 'GET' } = request;
  let upstream: ClientRequest;
  try {
    upstream = httpRequest({ ...options, method, maxHeaderSize: HEADERS_BYTES_MAX });
    upstream.maxHeadersCount = 0;
  } catch {
    // Node refuses to write what it has read.
    refuse(response);
    return null;
  }
  upstream.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage, headersOf(answer));
    // A transfer that breaks has to be seen to break: the client's connection is cut.
    pipeline(answer, response, (error) => {
      if (error) response.destroy();
    });
    // The head does not wait for a body that is long in coming, but goes with one that is there.
    setImmediate(() => {
      if (!response.writableEnded) flushHead(response);
    });
  });
  upstream.on('error', () => {
    // The whole answer may have come before the end of the request could be sent.
    if (response.writableEnded) return;
    if (response.headersSent) response.destroy();
    else response.writeHead(502, { connection: 'close' }).end();
  });
  response.on('close', () => {
    if (!response.writableFinished) abandon(upstream);
  });
  return upstream;
}

/** `flushHeaders()` would write latin1 as UTF-8. */
function flushHead(message: OutgoingMessage): void {
  message.write('', 'latin1');
}

/**
 * For a client that has gone. The worker would take a connection that ends for a client that has
 * said all it had to say; one that is reset has nobody left to answer.
 */
function abandon(upstream: ClientRequest): void {
  upstream.socket?.resetAndDestroy();
  upstream.destroy();
}

/** Without those about the worker's connection: the client has another, of perhaps another version. */
function headersOf(answer: IncomingMessage): string[] {
  return pairs(answer.rawHeaders).flatMap(([name, value]) => {
    const lower = name.toLowerCase();
    const isOurs = OF_THE_CONNECTION.has(lower) || lower === 'transfer-encoding';
    return isOurs || lower === 'connection' ? [] : [name, value];
  });
}

/**
 * Once the worker has switched protocols, bytes are carried both ways as they are. Until then they
 * are not: a request that follows a refused upgrade would get past us unseen.
 */
function relayUpgrade(
  request: IncomingMessage,
  response: ServerResponse,
  head: Buffer,
  destination: Destination,
): void {
  const upstream = ask(request, response, { ...destination, agent: false });
  upstream?.on('upgrade', (answer: IncomingMessage, worker: Socket, first: Buffer) => {
    const client = request.socket;
    response.detachSocket(client);
    let text = `HTTP/1.1 101 ${answer.statusMessage}\r\n`;
    for (const [name, value] of pairs(answer.rawHeaders)) text += `${name}: ${value}\r\n`;
    client.write(`${text}\r\n`, 'latin1');
    client.write(first);
    worker.write(head);
    worker.pipe(client);
    client.pipe(worker);
    worker.on('error', () => client.destroy());
    worker.on('close', () => client.end());
    client.on('error', () => worker.destroy());
    client.on('close', () => worker.destroy());
  });
  upstream?.end();
}

/** An answer on a connection that Node has taken out of its hands, the last on it. */
function responseOn(client: Socket, request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(client);
  response.on('finish', () => client.end());
  client.on('error', () => client.destroy());
  return response;
}

function pairs(rawHeaders: readonly string[]): readonly (readonly [string, string])[] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    found.push([rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '']);
  }
  return found;
}

function refuse(response: ServerResponse): void {
  response.writeHead(400, { connection: 'close', 'content-type': 'text/plain' });
  response.end('400 Bad Request\n');
}
