import {
  createServer,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
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

export async function startFront(
  worker: { readonly host: string; readonly port: number },
  listen: { readonly host: string; readonly port: number },
): Promise<Front> {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  // Cloudflare takes 128 KB of request headers; larger ones get 431 from Node, as from it.
  const server = createServer({ maxHeaderSize: 128 * 1024, requestTimeout: 0 });
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const target = targetOf(request);
    if (!target) return refuse(response);
    relay(request, response, { ...worker, ...target, agent });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const target = targetOf(request);
    if (target) relayUpgrade(request, socket, head, { ...worker, ...target });
    else socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
  });
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, () => {
      server.off('error', reject);
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

interface Target {
  /** Absolute form. */
  readonly path: string;
  readonly headers: string[];
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
  const headers: string[] = [];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] ?? '';
    const lower = name.toLowerCase();
    if (isEdgeHeader(lower) || lower === 'host') continue;
    headers.push(name, request.rawHeaders[i + 1] ?? '');
  }
  headers.push('Host', authority, 'CF-Connecting-IP', clientAddress(request.socket));
  return { path: `http://${authority}${rest}`, headers };
}

function clientAddress(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
}

function relay(
  request: IncomingMessage,
  response: ServerResponse,
  { host, port, path, headers, agent }: Target & { host: string; port: number; agent: HttpAgent },
): void {
  const { method } = request;
  const upstream = httpRequest({ host, port, path, headers, agent, ...(method && { method }) });
  upstream.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders);
    // A transfer that breaks has to be seen to break: the client's connection is cut.
    pipeline(answer, response, (error) => {
      if (error) response.destroy();
    });
  });
  upstream.on('error', () => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502, { connection: 'close' }).end();
  });
  response.on('close', () => {
    if (!response.writableFinished) upstream.destroy();
  });
  request.on('error', () => upstream.destroy());
  request.pipe(upstream);
}

/** From here on bytes are carried both ways as they are. */
function relayUpgrade(
  request: IncomingMessage,
  client: Socket,
  head: Buffer,
  { host, port, path, headers }: Target & { host: string; port: number },
): void {
  const worker = connect(port, host, () => {
    let text = `${request.method} ${path} HTTP/1.1\r\n`;
    for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
    worker.write(`${text}\r\n`, 'latin1');
    worker.write(head);
    worker.pipe(client);
    client.pipe(worker);
  });
  const end = () => {
    worker.destroy();
    client.destroy();
  };
  worker.on('error', end);
  client.on('error', end);
  worker.on('close', () => client.end());
  client.on('close', () => worker.destroy());
}

function refuse(response: ServerResponse): void {
  response.writeHead(400, { connection: 'close', 'content-type': 'text/plain' });
  response.end('400 Bad Request\n');
}
