import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { WebSocketServer } from 'ws';
import { classifyAddress } from '../snapshot/address.ts';
import type { Upstream } from '../snapshot/types.ts';

/**
 * Small servers that stand in for the applications: one on every address of this machine that an
 * upstream names. Each answers with what it was asked, and echoes WebSocket messages.
 */
export class EchoServers {
  readonly #servers = new Map<
    string,
    { readonly server: Server; readonly sockets: WebSocketServer }
  >();
  readonly #onProblem: (message: string) => void;

  constructor(onProblem: (message: string) => void) {
    this.#onProblem = onProblem;
  }

  /** Starts those that are missing and stops those that no upstream names any more. */
  async follow(upstreams: readonly Upstream[]): Promise<void> {
    const wanted = new Map<string, { host: string; port: number; upstream: string }>();
    for (const { name, endpoints } of upstreams) {
      for (const { host, port } of endpoints) {
        if (classifyAddress(host) !== 'loopback') continue;
        wanted.set(`${host} ${port}`, { host, port, upstream: name });
      }
    }
    for (const [key, { server, sockets }] of this.#servers) {
      if (wanted.has(key)) continue;
      this.#servers.delete(key);
      stop(server, sockets);
    }
    await Promise.all([...wanted].map(([key, it]) => this.#start(key, it)));
  }

  async stop(): Promise<void> {
    await this.follow([]);
  }

  async #start(key: string, it: { host: string; port: number; upstream: string }): Promise<void> {
    if (this.#servers.has(key)) return;
    const [namespace = '', service = '', port = ''] = it.upstream.split('/');
    const identity = { namespace, service, port: Number.parseInt(port, 10) };
    const server = createServer((request, response) => void echo(request, response, identity));
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => {
      socket.on('error', () => socket.terminate());
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    // The WebSocketServer repeats the errors of the server it sits on.
    sockets.on('error', () => {});
    this.#servers.set(key, { server, sockets });
    await new Promise<void>((resolve) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        this.#servers.delete(key);
        this.#onProblem(
          `echo server for ${it.upstream} on ${it.host}:${it.port}: ${error.code ?? error.message}`,
        );
        resolve();
      });
      server.listen(it.port, it.host, resolve);
    });
  }
}

function stop(server: Server, sockets: WebSocketServer): void {
  for (const client of sockets.clients) client.terminate();
  server.close();
  server.closeAllConnections();
}

async function echo(request: IncomingMessage, response: ServerResponse, identity: object) {
  let bodyBytes = 0;
  try {
    for await (const chunk of request) bodyBytes += (chunk as Buffer).length;
  } catch {
    // The client went away in the middle of its body: nobody waits for an answer.
    return;
  }
  const { method, url: path, headers } = request;
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify({ ...identity, method, path, headers, bodyBytes }, null, 2)}\n`);
}
