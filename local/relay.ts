import {
  type ClientRequest as AskedRequest,
  type Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingMessage,
  ServerResponse,
} from 'node:http';
import { constants, Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import {
  type ClientRequest,
  hasBody,
  OF_THE_CONNECTION,
  pairs,
  type WorkerRequest,
} from './worker-request.ts';

/** What Cloudflare takes each way. A request with more gets 431 from Node, as from it. */
export const HEADERS_BYTES_MAX = 128 * 1024;

export type ClientResponse = ServerResponse | Http2ServerResponse;

/** Where a request goes: the worker's socket. */
interface Destination extends WorkerRequest {
  readonly host: string;
  readonly port: number;
}

export function relay(
  request: ClientRequest,
  response: ClientResponse,
  destination: Destination & { readonly agent: HttpAgent },
): void {
  const upstream = ask(request.method, response, destination);
  if (!upstream) return;
  request.on('error', () => abandon(upstream));
  // Otherwise the head waits for the first bytes of the body, which may wait for an answer.
  if (hasBody(request)) flushHead(upstream);
  request.pipe(upstream, { end: false });
  request.on('end', () => {
    if (isWhole(request)) upstream.end();
    else abandon(upstream);
  });
  if (request instanceof Http2ServerRequest) {
    // Nobody reads what is left of the body, and its client would wait until somebody did. RFC 9113
    // section 8.1 has this for it.
    request.stream.on('finish', () => {
      if (!request.complete) request.stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }
}

/** A stream of HTTP/2 that is reset ends like one that was sent to its end. */
function isWhole(request: ClientRequest): boolean {
  if (!(request instanceof Http2ServerRequest)) return true;
  return !request.stream.aborted && request.stream.rstCode === constants.NGHTTP2_NO_ERROR;
}

/** Sends the head of a request, and relays whatever answer comes but a 101. */
function ask(
  method: string | undefined,
  response: ClientResponse,
  options: Destination & { readonly agent: HttpAgent | false },
): AskedRequest | null {
  let upstream: AskedRequest;
  try {
    upstream = httpRequest({
      ...options,
      method: method ?? 'GET',
      maxHeaderSize: HEADERS_BYTES_MAX,
    });
    upstream.maxHeadersCount = 0;
  } catch {
    // Node refuses to write what it has read.
    refuse(response);
    return null;
  }
  let isAnswered = () => false;
  upstream.on('response', (answer) => {
    isAnswered = () => answer.complete;
    writeHead(response, answer);
    // A transfer that breaks has to be seen to break.
    pipeline(answer, response, (error) => {
      if (error) cut(response);
    });
  });
  upstream.on('error', () => {
    // The whole answer may have come before the end of the request could be sent.
    if (response.writableEnded) return;
    if (response.headersSent) cut(response);
    else fail(response, 502);
  });
  response.on('close', () => {
    // With both done, the connection is free for the next request, or carries it already.
    if (!isAnswered() || !upstream.writableFinished) abandon(upstream);
  });
  return upstream;
}

/**
 * What else is said of a connection of HTTP/1.1 alone (RFC 9113 section 8.2.2). Node throws for one
 * of these, and any upstream may say it.
 */
const OF_HTTP1 = ['http2-settings', 'te', 'upgrade'];

function writeHead(response: ClientResponse, answer: IncomingMessage): void {
  const status = answer.statusCode ?? 502;
  if (response instanceof Http2ServerResponse) {
    response.writeHead(status, headersOf(answer, ...OF_HTTP1));
    return;
  }
  response.writeHead(status, answer.statusMessage, headersOf(answer));
  // The head does not wait for a body that is long in coming, but goes with one that is there.
  setImmediate(() => {
    if (!response.writableEnded) flushHead(response);
  });
}

/** So that the client sees that this is not all: it loses the connection, or in HTTP/2 the stream. */
function cut(response: ClientResponse): void {
  if (response instanceof Http2ServerResponse) {
    response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  } else {
    response.destroy();
  }
}

/** `flushHeaders()` would write latin1 as UTF-8. */
function flushHead(message: OutgoingMessage): void {
  message.write('', 'latin1');
}

/**
 * For a client that has gone. The worker would take a connection that ends for a client that has
 * said all it had to say; one that is reset has nobody left to answer.
 */
function abandon(upstream: AskedRequest): void {
  upstream.socket?.resetAndDestroy();
  upstream.destroy();
}

/** Without those about the worker's connection: the client has another, of perhaps another version. */
function headersOf(answer: IncomingMessage, ...others: readonly string[]): string[] {
  const left = ['connection', 'transfer-encoding', ...others];
  return pairs(answer.rawHeaders).flatMap(([name, value]) => {
    const lower = name.toLowerCase();
    return OF_THE_CONNECTION.has(lower) || left.includes(lower) ? [] : [name, value];
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
  const upstream = ask(request.method, response, { ...destination, agent: false });
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

export function refuse(response: ClientResponse): void {
  fail(response, 400, '400 Bad Request\n');
}

/** An answer of our own, after which a connection of HTTP/1.1 ends. */
function fail(response: ClientResponse, status: number, text = ''): void {
  if (!(response instanceof Http2ServerResponse)) response.setHeader('connection', 'close');
  if (text !== '') response.setHeader('content-type', 'text/plain');
  response.statusCode = status;
  response.end(text);
}
