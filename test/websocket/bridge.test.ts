import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { MESSAGE_BYTES_MAX } from '../../worker/websocket/messages.ts';
import { type Edge, open, startEdge } from './edge.ts';
import type { Peer } from './peer.ts';
import { startRawUpstream, startUpstream } from './upstream.ts';
import { frame } from './ws-codec.ts';

let edge: Edge;
beforeAll(async () => {
  edge = await startEdge();
});
afterAll(() => edge[Symbol.asyncDispose]());

const SAMPLES: readonly (string | Buffer)[] = [
  'text',
  '',
  '\ufeffwith a byte order mark, \0 and 😀',
  Buffer.from([0, 255, 1, 128]),
  Buffer.alloc(0),
  Buffer.alloc(125, 1),
  Buffer.alloc(126, 2),
  Buffer.alloc(65_536, 3),
  Buffer.alloc(1 << 20, 4),
  'é'.repeat(1 << 20),
];

describe('messages', () => {
  test('text and binary of all sizes pass both ways, in order', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    for (const sample of SAMPLES) client.socket.send(sample);
    for (const sample of SAMPLES) peer.socket.send(sample);
    expect(await peer.take(SAMPLES.length)).toEqual(SAMPLES);
    expect(await client.take(SAMPLES.length)).toEqual(SAMPLES);
    await closeAll(client, peer);
  });

  test('fragments arrive as one message, with a ping between them', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    for (const [from, to] of [
      [client, peer],
      [peer, client],
    ] as const) {
      from.socket.send(Buffer.from([0xc3]), { fin: false, binary: false });
      from.socket.ping('between');
      from.socket.send(Buffer.from([0xa9]), { fin: false });
      from.socket.send('', { fin: true });
      from.socket.send(Buffer.from([1]), { fin: false });
      from.socket.send(Buffer.from([2]), { fin: true });
      expect(await to.take(2)).toEqual(['é', Buffer.from([1, 2])]);
      // workerd adds four bytes to its answer when the ping came between two fragments.
      const pong = from === peer ? 'between' : expect.stringMatching(/^between/);
      expect(await from.next()).toEqual({ pong });
    }
    await closeAll(client, peer);
  });

  test('ten thousand messages keep their order both ways', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    const numbers = Array.from({ length: 10_000 }, (_, i) => String(i));
    for (const number of numbers) {
      client.socket.send(number);
      peer.socket.send(number);
    }
    expect(await peer.take(numbers.length)).toEqual(numbers);
    expect(await client.take(numbers.length)).toEqual(numbers);
    await closeAll(client, peer);
  });

  test('the longest message passes both ways', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    const message = Buffer.alloc(MESSAGE_BYTES_MAX, 7);
    client.socket.send(message);
    expect(message.equals((await peer.next()) as Buffer)).toBe(true);
    peer.socket.send(message);
    expect(message.equals((await client.next()) as Buffer)).toBe(true);
    await closeAll(client, peer);
  });

  test('a client that reads late misses nothing', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port, { perMessageDeflate: false });
    const { peer } = await upstream.connected;
    client.socket.pause();
    const send = (i: number) =>
      new Promise((resolve) => peer.socket.send(Buffer.alloc(1 << 20, i), resolve));
    const [first] = Array.from({ length: 64 }, (_, i) => send(i));
    await first;
    client.socket.resume();
    const messages = (await client.take(64)) as Buffer[];
    expect(messages.map((message) => [message.length, message[0]])).toEqual(
      Array.from({ length: 64 }, (_, i) => [1 << 20, i]),
    );
    await closeAll(client, peer);
  });

  test('each ping of the upstream gets its own pong', async () => {
    await using upstream = await startUpstream();
    const { client } = await open(edge, upstream.port);
    const { peer } = await upstream.connected;
    const payloads = ['', 'a', 'x'.repeat(125)];
    for (const payload of payloads) peer.socket.ping(payload);
    expect(await peer.take(3)).toEqual(payloads.map((pong) => ({ pong })));
    await closeAll(client, peer);
  });

  test('what the upstream sends along with its handshake arrives', async () => {
    await using upstream = await startRawUpstream(
      frame(Buffer.from('first'), { fin: true, opcode: 1 }),
    );
    const { client } = await open(edge, upstream.port);
    expect(await client.next()).toBe('first');
  });
});

describe('handshake', () => {
  test('subprotocols and headers pass, extensions do not', async () => {
    await using upstream = await startUpstream({
      perMessageDeflate: true,
      handleProtocols: () => 'v1.chat',
    });
    const headers = { cookie: 'a=b', 'x-own': 'c' };
    const { client } = await open(edge, upstream.port, {
      protocols: ['v2.chat', 'v1.chat'],
      headers,
    });
    const { peer, request } = await upstream.connected;
    expect(client.socket.protocol).toBe('v1.chat');
    expect(request.headers).toMatchObject({
      ...headers,
      'sec-websocket-protocol': 'v2.chat, v1.chat',
      'sec-websocket-version': '13',
    });
    expect(request.headers['sec-websocket-extensions']).toBeUndefined();
    await closeAll(client, peer);
  });

  test('an upstream with a subprotocol of its own is refused', async () => {
    await using upstream = await startUpstream({ handleProtocols: () => 'other' });
    const { url } = edge.route(upstream.port);
    const client = new WebSocket(url, ['chat']);
    const [error] = (await once(client, 'error')) as [Error];
    expect(error.message).toBe('Unexpected server response: 502');
    expect((await (await upstream.connected).peer.closed).code).toBe(1006);
  });
});

async function closeAll(client: Peer, upstream: Peer): Promise<void> {
  client.socket.close();
  await Promise.all([client.closed, upstream.closed]);
}
