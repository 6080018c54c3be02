import {
  createServer,
  Agent as HttpAgent,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { HEADERS_BYTES_MAX, refuse, relay, relayUpgrade, responseOn } from './relay.ts';
import { isWebSocket, workerRequest } from './worker-request.ts';

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
    const own = workerRequest(request);
    if (own) relay(request, response, { ...worker, ...own, agent });
    else refuse(response);
  });
  server.on('upgrade', (request: IncomingMessage, client: Socket, head: Buffer) => {
    const own = workerRequest(request);
    const response = responseOn(client, request);
    if (own) relayUpgrade(request, response, head, { ...worker, ...own });
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
