/**
 * The program in every test pod: an HTTP server that answers with what it was asked, and over a
 * WebSocket repeats what it is told.
 *
 * Configured by ECHO_ADDRESS, ECHO_PORTS (comma-separated), ECHO_NAMESPACE, ECHO_SERVICE, ECHO_POD and
 * ECHO_NODE. A request can steer its answer with these headers, for tests of failure:
 *   x-echo-status: 503      the status of the answer (100 to 599)
 *   x-echo-delay-ms: 200    wait before answering, at most 60 000
 * On SIGTERM it does as real servers do: accepts no more connections, finishes the requests under way,
 * and exits with 0. With ECHO_LINGERS_MS it is one of the careful ones, which go on accepting until
 * nobody has connected for so long: whoever sends them requests hears of their end later than they do.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

/** What an echo server answers. */
export interface EchoAnswer {
  namespace: string;
  /** The label `app.kubernetes.io/name` or `app` of the pod. */
  service?: string;
  pod: string;
  node: string;
  /** The port on which the request came in. */
  port: number;
  /** The address of the connection's other end. */
  peer: string;
  method: string;
  /** As received: the raw request target. */
  path: string;
  /** As received; of a repeated name, all values joined with a comma. */
  headers: Record<string, string>;
  bodyBytes: number;
}

const { ECHO_NAMESPACE, ECHO_SERVICE, ECHO_POD, ECHO_NODE } = process.env;
const address = process.env.ECHO_ADDRESS ?? '127.0.0.1';
const ports = (process.env.ECHO_PORTS ?? '8080').split(',').map(Number);
const lingersMs = Number(process.env.ECHO_LINGERS_MS ?? 0);
let isStopping = false;

const servers = ports.map((port) => {
  const server = createServer((request, response) => {
    // Without this a client with a kept connection would hold a stopping server for ever.
    if (isStopping) response.setHeader('connection', 'close');
    response.once('close', () => isStopping && server.closeIdleConnections());
    answer(request, response, port).catch(() => response.destroy());
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    converse(request, socket, head, port).catch(() => socket.destroy());
  });
  return server.listen(port, address);
});

process.once('SIGTERM', () => {
  isStopping = true;
  // The process exits by itself once the last request has been answered.
  const close = () => {
    for (const server of servers) server.close();
  };
  if (lingersMs === 0) return close();
  const lingering = setTimeout(close, lingersMs);
  for (const server of servers) server.on('connection', () => lingering.refresh());
});

async function answer(request: IncomingMessage, response: ServerResponse, port: number) {
  let bodyBytes = 0;
  for await (const chunk of request) bodyBytes += chunk.length;
  const delayMs = Number(request.headers['x-echo-delay-ms'] ?? 0);
  if (delayMs > 0) await delay(Math.min(delayMs, 60_000));
  const body = answerTo(request, port, bodyBytes);
  response.statusCode = Number(request.headers['x-echo-status'] ?? 200);
  response.setHeader('content-type', 'application/json');
  if (isStopping) response.setHeader('connection', 'close');
  const text = `${JSON.stringify(body)}\n`;
  // For HEAD Node does not work it out by itself.
  if (request.method === 'HEAD') response.setHeader('content-length', Buffer.byteLength(text));
  response.end(text);
}

/** Says in the first message what it was asked, and from then on repeats each message. */
async function converse(request: IncomingMessage, socket: Duplex, head: Buffer, port: number) {
  // Most pods never need it, and starting many of them should be quick.
  const { WebSocketServer } = await import('ws');
  new WebSocketServer({ noServer: true }).handleUpgrade(request, socket, head, (peer) => {
    peer.on('error', () => peer.terminate());
    peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary }));
    peer.send(JSON.stringify(answerTo(request, port, 0)));
  });
}

function answerTo(request: IncomingMessage, port: number, bodyBytes: number): EchoAnswer {
  return {
    namespace: ECHO_NAMESPACE ?? '',
    ...(ECHO_SERVICE ? { service: ECHO_SERVICE } : {}),
    pod: ECHO_POD ?? '',
    node: ECHO_NODE ?? '',
    port,
    peer: request.socket.remoteAddress ?? '',
    method: request.method ?? '',
    path: request.url ?? '',
    headers: joined(request.headersDistinct),
    bodyBytes,
  };
}

function joined(headers: NodeJS.Dict<string[]>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, values = []]) => [name, values.join(', ')]),
  );
}
