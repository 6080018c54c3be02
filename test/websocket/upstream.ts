import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type ServerOptions, WebSocketServer } from 'ws';
import { acceptValue } from '../../worker/websocket/handshake.ts';
import { Peer } from './peer.ts';

/** An upstream for one connection, spoken by ws. */
export interface Upstream extends AsyncDisposable {
  readonly port: number;
  readonly connected: Promise<{ readonly peer: Peer; readonly request: IncomingMessage }>;
}

/** An upstream for one connection, on which the test writes the bytes. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number;
  /** The connection after the handshake. */
  readonly connected: Promise<Socket>;
}

export async function startUpstream(options: ServerOptions = {}): Promise<Upstream> {
  const server = new WebSocketServer({ ...options, host: '127.0.0.1', port: 0 });
  const connected = new Promise<{ peer: Peer; request: IncomingMessage }>((resolve) => {
    server.on('connection', (socket, request) => resolve({ peer: new Peer(socket), request }));
  });
  await once(server, 'listening');
  const dispose = async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  };
  const { port } = server.address() as AddressInfo;
  return { port, connected, [Symbol.asyncDispose]: dispose };
}

/** `first` is sent along with the handshake. */
export async function startRawUpstream(
  first: Uint8Array = new Uint8Array(0),
): Promise<RawUpstream> {
  const sockets: Socket[] = [];
  const connected = Promise.withResolvers<Socket>();
  const server = createServer(async (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    const head = await readHead(socket);
    const key = /^sec-websocket-key: (.*)$/im.exec(head)?.[1] ?? '';
    const answer = [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${await acceptValue(key)}`,
    ];
    socket.write(Buffer.concat([Buffer.from(`${answer.join('\r\n')}\r\n\r\n`), first]));
    connected.resolve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dispose = async () => {
    for (const socket of sockets) socket.destroy();
    await closed(server);
  };
  const { port } = server.address() as AddressInfo;
  return { port, connected: connected.promise, [Symbol.asyncDispose]: dispose };
}

/** Reads up to the empty line; the client sends nothing more before it is answered. */
async function readHead(socket: Socket): Promise<string> {
  let head = '';
  while (!head.endsWith('\r\n\r\n')) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    head += chunk.toString('latin1');
  }
  socket.pause();
  return head;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
