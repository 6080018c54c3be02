import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { bundleWorker } from '../../../local/bundle.ts';

/** workerd with the worker of this folder. */
export interface Gateway extends AsyncDisposable {
  readonly url: URL;
  /** Memory of its process that is in use, in bytes. */
  memory(): number;
}

export async function startGateway(): Promise<Gateway> {
  const before = new Set(childrenNamed('workerd'));
  const contents = await bundleWorker(fileURLToPath(new URL('worker.js', import.meta.url)));
  const worker = {
    name: 'http1',
    modules: [{ type: 'ESModule' as const, path: 'worker.mjs', contents }],
    compatibilityDate: '2026-11-01',
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
  };
  const miniflare = new Miniflare(convertV4MiniflareOptions({ workers: [worker] }));
  const url = await miniflare.unsafeGetDirectURL('http1');
  const pids = childrenNamed('workerd').filter((pid) => !before.has(pid));
  return {
    url,
    memory: () => pids.reduce((sum, pid) => sum + residentBytes(pid), 0),
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}

/** An upstream that does with a connection what the test says, once its first bytes have come. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number;
}

export async function startUpstream(
  script: (socket: Socket, first: Buffer) => void,
  host = '127.0.0.1',
): Promise<RawUpstream> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (first) => script(socket, first));
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

export function open(
  { url }: Gateway,
  { port }: RawUpstream,
  {
    query = '',
    ...options
  }: { query?: string; method?: string; headers?: Record<string, string | number> } = {},
): ClientRequest {
  const client = request(new URL(`/path?port=${port}${query}`, url), { agent: false, ...options });
  client.on('error', () => {});
  return client;
}

export async function answerOf(client: ClientRequest): Promise<IncomingMessage> {
  const failed = once(client, 'close').then(() => {
    throw new Error('no answer');
  });
  // Also when the answer comes first.
  failed.catch(() => {});
  const [answer] = (await Promise.race([once(client, 'response'), failed])) as [IncomingMessage];
  answer.on('error', () => {});
  return answer;
}

/** What of a body arrived, and whether it was whole. */
export interface Received {
  readonly bytes: number;
  readonly isComplete: boolean;
}

export async function received(answer: IncomingMessage): Promise<Received> {
  let bytes = 0;
  answer.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await new Promise((resolve) => answer.once('close', resolve));
  return { bytes, isComplete: answer.complete };
}

function childrenNamed(name: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [, command, parent] =
        /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      return command === name && parent === String(process.pid);
    } catch {
      return false;
    }
  });
}

function residentBytes(pid: string): number {
  const [, pages = '0'] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ');
  return Number(pages) * 4096;
}
