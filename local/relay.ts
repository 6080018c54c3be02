import {
  type ClientRequest,
  type Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingMessage,
  ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { hasBody, OF_THE_CONNECTION, pairs, type WorkerRequest } from './worker-request.ts';

/** What Cloudflare takes each way. A request with more gets 431 from Node, as from it. */
export const HEADERS_BYTES_MAX = 128 * 1024;

/** Where a request goes: the worker's socket. */
interface Destination extends WorkerRequest {
  readonly host: string;
  readonly port: number;
}

export function relay(
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
export function relayUpgrade(
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
export function responseOn(client: Socket, request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(client);
  response.on('finish', () => client.end());
  client.on('error', () => client.destroy());
  return response;
}

export function refuse(response: ServerResponse): void {
  response.writeHead(400, { connection: 'close', 'content-type': 'text/plain' });
  response.end('400 Bad Request\n');
}
