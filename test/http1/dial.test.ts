import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  type AddressPolicy,
  type ConnectFunction,
  type RawSocket,
  socketDialer,
  vpcDialer,
} from '../../worker/dial/socket.ts';
import { DialError } from '../../worker/dial/upstream-error.ts';

/** A socket that opens when the test says so. */
class FakeSocket implements RawSocket {
  readonly readable = new ReadableStream<Uint8Array>();
  readonly writable = new WritableStream<Uint8Array>();
  readonly #opened = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  readonly opened = this.#opened.promise;
  readonly closed = this.#closed.promise;
  closeCount = 0;

  open(): void {
    this.#opened.resolve();
  }

  refuse(): void {
    this.#opened.reject(new Error('proxy request failed, cannot connect to the specified address'));
    this.#closed.reject(new Error('proxy request failed'));
  }

  async close(): Promise<void> {
    this.closeCount += 1;
    throw new Error('already closed');
  }
}

let sockets: FakeSocket[];
let dialled: { hostname: string; port: number }[];
const connect: ConnectFunction = (address) => {
  dialled.push(address);
  const socket = new FakeSocket();
  sockets.push(socket);
  return socket;
};

beforeEach(() => {
  sockets = [];
  dialled = [];
  vi.useFakeTimers();
});
afterEach(() => void vi.useRealTimers());

async function attempt(host: string, policy: AddressPolicy, port = 80): Promise<string> {
  const connection = socketDialer(connect, policy).dial({ host, port }, 1000);
  sockets.at(-1)?.open();
  try {
    await connection;
    return dialled.at(-1)?.hostname ?? '';
  } catch (error) {
    if (!(error instanceof DialError)) throw error;
    expect(error).toMatchObject({ kind: 'connect', requestSent: false });
    return error.failure;
  }
}

test.each([
  ['8.8.8.8', '8.8.8.8', '8.8.8.8'],
  ['node-1.example.com', 'node-1.example.com', 'node-1.example.com'],
  ['2a01:4f8::1', '[2a01:4f8::1]', '[2a01:4f8::1]'],
  ['10.0.0.1', 'address', '10.0.0.1'],
  ['::1', 'address', '[::1]'],
  ['127.1', 'address', '127.1'],
  ['localhost', 'address', 'localhost'],
  ['104.16.0.1', 'address', '104.16.0.1'],
  ['203.0.113.1', 'address', '203.0.113.1'],
  ['169.254.169.254', 'address', 'address'],
  ['0xa9fea9fe', 'address', 'address'],
  ['::ffff:169.254.169.254', 'address', 'address'],
  ['metadata.google.internal', 'address', 'address'],
  ['0.0.0.0', 'address', 'address'],
  ['224.0.0.1', 'address', 'address'],
  ['fe80::1%eth0', 'address', 'address'],
  ['', 'address', 'address'],
  ['a b', 'address', 'address'],
  ['a:80', 'address', 'address'],
  ['127%2e0.0.1', 'address', 'address'],
  ['１２７.0.0.1', 'address', 'address'],
  ['a/b', 'address', 'address'],
  ['user@a', 'address', 'address'],
])('%s', async (host, inProduction, local) => {
  expect(await attempt(host, 'production')).toBe(inProduction);
  expect(await attempt(host, 'local')).toBe(local);
});

test.each([0, -1, 65_536, 1.5, Number.NaN])('port %d is none', async (port) => {
  expect(await attempt('8.8.8.8', 'production', port)).toBe('address');
  expect(dialled).toEqual([]);
});

test('a refused connection is a DialError with its cause', async () => {
  const connection = socketDialer(connect, 'production').dial({ host: '8.8.8.8', port: 80 }, 1000);
  sockets[0]?.refuse();
  await expect(connection).rejects.toMatchObject({
    failure: 'refused',
    message: expect.stringMatching(/^cannot dial 8\.8\.8\.8:80: proxy request failed/),
  });
  expect(vi.getTimerCount()).toBe(0);
});

test('a connect that throws is a DialError', async () => {
  const dialer = socketDialer(() => {
    throw new TypeError('Specified address is missing port.');
  }, 'production');
  await expect(dialer.dial({ host: '8.8.8.8', port: 80 }, 1000)).rejects.toMatchObject({
    failure: 'refused',
  });
});

test('a socket that opens too late is closed', async () => {
  const connection = socketDialer(connect, 'production').dial({ host: '8.8.8.8', port: 80 }, 1000);
  const failed = expect(connection).rejects.toMatchObject({ failure: 'timeout' });
  await vi.advanceTimersByTimeAsync(1000);
  await failed;
  const before = sockets[0]?.closeCount ?? 0;
  sockets[0]?.open();
  await vi.advanceTimersByTimeAsync(0);
  expect(sockets[0]?.closeCount).toBe(before + 1);
});

test('an open connection leaves no timer, and closing it never fails', async () => {
  const connection = socketDialer(connect, 'production').dial({ host: '8.8.8.8', port: 80 }, 1000);
  sockets[0]?.open();
  const open = await connection;
  expect(vi.getTimerCount()).toBe(0);
  await open.close();
  await open.close();
});

test('a VPC network dials private addresses, and none that are forbidden', async () => {
  const dialer = vpcDialer({ connect });
  const connection = dialer.dial({ host: '10.0.0.1', port: 80 }, 1000);
  sockets[0]?.open();
  await connection;
  expect(dialled).toEqual([{ hostname: '10.0.0.1', port: 80 }]);
  const forbidden = dialer.dial({ host: '169.254.169.254', port: 80 }, 1000);
  await expect(forbidden).rejects.toMatchObject({ failure: 'address' });
  await expect(vpcDialer(null).dial({ host: '10.0.0.1', port: 80 }, 1000)).rejects.toThrow(/VPC/);
});
