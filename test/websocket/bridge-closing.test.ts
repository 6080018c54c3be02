import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { MESSAGE_BYTES_MAX } from '../../worker/websocket/messages.ts';
import { type Edge, open, startEdge } from './edge.ts';
import type { Peer } from './peer.ts';
import { startRawUpstream, startUpstream } from './upstream.ts';
import { frame, readWithWs } from './ws-codec.ts';

let edge: Edge;
beforeAll(async () => {
  edge = await startEdge();
});
afterAll(() => edge[Symbol.asyncDispose]());

describe('closing', () => {
  const closes = [
    { code: 1005, reason: '' },
    { code: 1000, reason: '' },
    { code: 1001, reason: 'going away' },
    { code: 1011, reason: '' },
    { code: 1014, reason: 'é'.repeat(61) },
    { code: 3000, reason: 'own' },
    { code: 4999, reason: 'x'.repeat(123) },
  ];

  test.each(closes)(
    'code $code of the client reaches the upstream, and its echo comes back',
    async (close) => {
      await using upstream = await startUpstream();
      const { client, ending } = await open(edge, upstream.port);
      const { peer } = await upstream.connected;
      client.socket.send('last words');
      sendClose(client, close);
      expect(await peer.next()).toBe('last words');
      expect(await peer.closed).toEqual(close);
      expect(await client.closed).toEqual(close);
      expect(await ending).toEqual({ kind: 'closed', by: 'client', close });
    },
  );

  test.each(closes)(
    'code $code of the upstream reaches the client, and its echo comes back',
    async (close) => {
      await using upstream = await startUpstream();
      const { client, ending } = await open(edge, upstream.port);
      const { peer } = await upstream.connected;
      peer.socket.send('last words');
      sendClose(peer, close);
      expect(await client.next()).toBe('last words');
      expect(await client.closed).toEqual(close);
      expect(await peer.closed).toEqual(close);
      expect(await ending).toEqual({ kind: 'closed', by: 'upstream', close });
    },
  );

  test('the upstream may send on until it answers a close frame', async () => {
    await using upstream = await startRawUpstream();
    const { client } = await open(edge, upstream.port);
    const socket = await upstream.connected;
    client.socket.close(4001, 'from the client');
    await once(socket.resume(), 'data');
    socket.write(frame(Buffer.from('still here'), { fin: true, opcode: 1 }));
    socket.write(closeFrame(4002));
    expect(await client.next()).toBe('still here');
    expect((await client.closed).code).toBe(4002);
    socket.end();
    await once(socket, 'close');
  });

  test('the server ends the connection first, after both close frames', async () => {
    await using upstream = await startRawUpstream();
    const { client, ending } = await open(edge, upstream.port);
    const socket = await upstream.connected;
    const bytes = readAll(socket);
    socket.write(closeFrame(1000));
    await client.closed;
    socket.end();
    const reading = await readWithWs(await bytes, { isServer: true, maxPayload: 0 });
    expect(reading.messages).toEqual([['close', 1000, '']]);
    expect(await ending).toMatchObject({ kind: 'closed', by: 'upstream' });
  });
});

describe('abrupt ends', () => {
  test('an upstream that resets the connection gives the client 1011 without a cause', async () => {
    await using upstream = await startUpstream();
    const { client, ending } = await open(edge, upstream.port);
    const { request } = await upstream.connected;
    (request.socket as Socket).resetAndDestroy();
    expect(await client.closed).toEqual({ code: 1011, reason: '' });
    expect(await ending).toMatchObject({ kind: 'lost', by: 'upstream' });
  });

  test('an upstream that ends the connection without a close frame does too', async () => {
    await using upstream = await startRawUpstream();
    const { client, ending } = await open(edge, upstream.port);
    const socket = await upstream.connected;
    socket.resume().end(frame(Buffer.from('last'), { fin: true, opcode: 1 }));
    expect(await client.next()).toBe('last');
    expect(await client.closed).toEqual({ code: 1011, reason: '' });
    expect(await ending).toMatchObject({ kind: 'lost', by: 'upstream' });
  });

  test('a client that is gone ends the upstream without a close frame', async () => {
    await using upstream = await startUpstream();
    const { client, ending } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    client.socket.terminate();
    expect((await peer.closed).code).toBe(1006);
    expect(await ending).toMatchObject({ kind: 'lost', by: 'client' });
  });

  test('a client that sends too long a message is cut off, and so is its upstream', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    client.socket.send(Buffer.alloc(MESSAGE_BYTES_MAX + 1));
    expect((await client.closed).code).toBe(1009);
    expect((await peer.closed).code).toBe(1006);
  });

  test.each([
    ['a masked frame', Uint8Array.of(0x81, 0x80, 0, 0, 0, 0), 1002],
    ['text that is not UTF-8', Uint8Array.of(0x81, 0x01, 0xff), 1007],
    ['a message of 4 GiB', Uint8Array.of(0x82, 0x7f, 0, 0, 0, 1, 0, 0, 0, 0), 1009],
  ])('%s from the upstream fails both', async (_, bytes, code) => {
    await using upstream = await startRawUpstream();
    const { client, ending } = await open(edge, upstream.port);
    const socket = await upstream.connected;
    const received = readAll(socket);
    socket.write(bytes);
    expect(await client.closed).toEqual({ code: 1011, reason: '' });
    socket.end();
    const reading = await readWithWs(await received, { isServer: true, maxPayload: 0 });
    expect(reading.messages).toEqual([['close', code, '']]);
    expect(await ending).toMatchObject({ kind: 'failed', codes: { client: 1011, upstream: code } });
  });

  test('an upstream that reads too slowly ends both with 1013', async () => {
    await using upstream = await startRawUpstream();
    const { client, ending } = await open(edge, upstream.port);
    const socket = await upstream.connected;
    while (client.socket.readyState === WebSocket.OPEN) {
      await new Promise((resolve) => client.socket.send(Buffer.alloc(1 << 20), resolve));
    }
    expect(await client.closed).toEqual({ code: 1013, reason: '' });
    const received = await readAll(socket);
    const { messages } = await readWithWs(received, { isServer: true, maxPayload: 0 });
    expect(messages.at(-1)).toEqual(['close', 1013, '']);
    expect(await ending).toMatchObject({ kind: 'failed' });
  });
});

describe('peers that never answer a close frame', () => {
  test('the upstream is cut off and the client told 1011', async () => {
    await using upstream = await startRawUpstream();
    const { client, ending } = await open(edge, upstream.port, { closeTimeoutMs: 100 });
    const socket = await upstream.connected;
    client.socket.close(1000);
    expect((await client.closed).code).toBe(1011);
    await readAll(socket);
    expect(await ending).toMatchObject({ kind: 'closed', by: 'client' });
  });

  test('the client costs the upstream no more than the time limit', async () => {
    await using upstream = await startUpstream();
    const { url, ending } = edge.route(upstream.port, 100);
    const socket = await openSilent(url);
    const { peer } = await upstream.connected;
    peer.socket.close(4000, 'enough');
    expect(await peer.closed).toEqual({ code: 4000, reason: 'enough' });
    expect(await ending).toMatchObject({ kind: 'closed', by: 'upstream' });
    socket.destroy();
  });
});

function sendClose({ socket }: Peer, { code, reason }: { code: number; reason: string }): void {
  if (code === 1005) socket.close();
  else socket.close(code, reason);
}

function closeFrame(code: number): Buffer {
  return frame(Uint8Array.of(code >> 8, code & 0xff), { fin: true, opcode: 8 });
}

/** All bytes to the end of the connection, whichever way it ends. */
async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
  await once(socket, 'close');
  return Buffer.concat(chunks);
}

/** A client that shakes hands and then never says anything again. */
async function openSilent(url: URL): Promise<Socket> {
  const socket = connect(Number(url.port), url.hostname);
  const lines = [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  await once(socket, 'data');
  return socket;
}
