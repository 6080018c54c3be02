import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { readHead, readRequest, readResponse, valueIn, valuesOf } from '../support/message.ts';
import { headText, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, deadPort, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';
import { Peer } from '../websocket/peer.ts';
import { startUpstream, type Upstream as WsUpstream } from '../websocket/upstream.ts';

const MIB = 1024 * 1024;

describe('a WebSocket through the gateway', () => {
  let rig: Rig;
  let chat: WsUpstream;
  const sockets: WebSocket[] = [];

  beforeAll(async () => {
    rig = await startRig();
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    chat = await startUpstream({
      handleProtocols: (offered) => [...offered].find((it) => it.startsWith('good')) ?? false,
    });
    await rig.publish(snapshotOf({ 'chat.example': { '/ws': chat.port } }));
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.terminate();
    await chat[Symbol.asyncDispose]();
  });

  function dial(path: string, protocols: string[] = [], options: ClientOptions = {}): WebSocket {
    const url = `ws://127.0.0.1:${rig.front.port}${path}`;
    const headers = { Host: 'chat.example', ...options.headers };
    const socket = new WebSocket(url, protocols, { ...options, headers });
    sockets.push(socket);
    return socket;
  }

  async function open(path = '/ws', protocols: string[] = [], options: ClientOptions = {}) {
    const client = new Peer(dial(path, protocols, options));
    await once(client.socket, 'open');
    return { client, ...(await chat.connected) };
  }

  /** The status with which a handshake was refused. */
  async function refusal(path: string, options: ClientOptions = {}): Promise<number> {
    const socket = dial(path, [], options);
    socket.on('error', () => {});
    const [, response] = await once(socket, 'unexpected-response');
    return response.statusCode;
  }

  it('carries text and bytes both ways, in order and in one piece each', async () => {
    const { client, peer } = await open();
    const messages = [
      '',
      'hello',
      'gr\u00fc\u00dfe \u{1f600}',
      randomBytes(1),
      Buffer.alloc(0),
      randomBytes(70_000),
      'x'.repeat(200_000),
    ];
    for (const message of messages) client.socket.send(message);
    expect(await peer.take(messages.length)).toEqual(messages);
    for (const message of messages) peer.socket.send(message);
    expect(await client.take(messages.length)).toEqual(messages);
  });

  it('carries many messages and large ones', async () => {
    const { client, peer } = await open();
    const many = Array.from({ length: 2_000 }, (_, index) => `message ${index}`);
    for (const message of many) client.socket.send(message);
    expect(await peer.take(many.length)).toEqual(many);
    const large = randomBytes(8 * MIB);
    peer.socket.send(large);
    expect(large.equals((await client.next()) as Buffer)).toBe(true);
    client.socket.send(large);
    expect(large.equals((await peer.next()) as Buffer)).toBe(true);
  });

  it('shows the upstream path, query, Host and who the client is', async () => {
    const lies = { 'X-Forwarded-For': '6.6.6.6', Origin: 'http://chat.example', Cookie: 'a=1' };
    const { request } = await open('/ws/room%2F1?x=%zz', [], { headers: lies });
    expect(request.url).toBe('/ws/room%2F1?x=%zz');
    expect(request.headers).toMatchObject({
      host: 'chat.example',
      origin: 'http://chat.example',
      cookie: 'a=1',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      upgrade: 'websocket',
    });
    expect(request.headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/);
    expect(request.headers['sec-websocket-extensions']).toBeUndefined();
  });

  it('agrees on the subprotocol that the upstream chooses', async () => {
    const { client, request } = await open('/ws', ['bad', 'good.v2', 'good.v1']);
    expect(request.headers['sec-websocket-protocol']).toBe('bad, good.v2, good.v1');
    expect(client.socket.protocol).toBe('good.v2');
  });

  it.each([
    [1000, 'done'],
    [1001, ''],
    [3000, 'r\u00e9ason'],
    [4999, 'x'.repeat(123)],
  ])('closes with %i %j from either side', async (code, reason) => {
    const { client, peer } = await open();
    client.socket.close(code, reason);
    expect(await peer.closed).toEqual({ code, reason });
    expect(await client.closed).toEqual({ code, reason });
    await chat[Symbol.asyncDispose]();

    chat = await startUpstream();
    await rig.publish(snapshotOf({ 'chat.example': { '/ws': chat.port } }));
    const other = await open();
    other.peer.socket.close(code, reason);
    expect(await other.client.closed).toEqual({ code, reason });
    expect(await other.peer.closed).toEqual({ code, reason });
  });

  it('shows the upstream a client that vanishes', async () => {
    const { client, peer } = await open();
    client.socket.terminate();
    expect((await peer.closed).code).toBe(1006);
  });

  it('shows the client an upstream that vanishes', async () => {
    const { client, peer } = await open();
    peer.socket.terminate();
    expect((await client.closed).code).toBe(1011);
  });

  it('answers pings of both sides', async () => {
    const { client, peer } = await open();
    client.socket.ping('from the client');
    expect(await client.next()).toEqual({ pong: 'from the client' });
    peer.socket.ping('from the upstream');
    expect(await peer.next()).toEqual({ pong: 'from the upstream' });
  });

  it('stays open through publications, and when its route is gone', async () => {
    const { client, peer } = await open();
    await rig.publish(snapshotOf({ 'other.example': { '/': [] } }));
    client.socket.send('still here');
    expect(await peer.next()).toBe('still here');
    expect(await refusal('/ws')).toBe(404);
    peer.socket.send('yes');
    expect(await client.next()).toBe('yes');
  });

  it('is refused in the words of the upstream', async () => {
    await using strict = await Upstream.start(
      answering('HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\nX-Why: login\r\n\r\nnot you'),
    );
    await rig.publish(snapshotOf({ 'chat.example': { '/': strict.port } }));
    expect(await refusal('/ws')).toBe(403);
    const wire = await Wire.dial(rig.front.port);
    wire.write(headText({ host: 'chat.example', headers: HANDSHAKE }));
    const answer = await readResponse(wire);
    expect([answer.status, String(answer.body)]).toEqual([403, 'not you']);
    expect(valueIn(answer, 'x-why')).toBe('login');
    expect(await wire.ended()).toBe(true);
    wire.destroy();
    for (const seen of strict.requests) expect(valuesOf(seen, 'upgrade')).toEqual(['websocket']);
  });

  it('is refused by us as any request: 404, 502, 503', async () => {
    await rig.publish(snapshotOf({ 'chat.example': { '/dead': await deadPort(), '/none': [] } }));
    expect(await refusal('/unknown')).toBe(404);
    expect(await refusal('/dead')).toBe(502);
    expect(await refusal('/none')).toBe(503);
    expect(await refusal('/', { headers: { Host: 'nobody.example' } })).toBe(404);
  });

  it.each([
    [
      'a wrong accept',
      ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: d3Jvbmc='],
    ],
    ['no accept', ['Upgrade: websocket', 'Connection: Upgrade']],
    ['another protocol', ['Upgrade: h2c', 'Connection: Upgrade']],
    ['no Connection', ['Upgrade: websocket']],
  ])('is 502 when the upstream agrees with %s', async (_, lines) => {
    await using wrong = await Upstream.start(async (wire) => {
      await readRequest(wire);
      wire.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
    });
    await rig.publish(snapshotOf({ 'chat.example': { '/': wrong.port } }));
    expect(await refusal('/ws')).toBe(502);
    expect(await (await wrong.wire(0)).ended()).toBe(true);
  });

  it('is not begun for a request that is none', async () => {
    await using plain = await Upstream.start(answering(ok('plain')));
    await rig.publish(snapshotOf({ 'chat.example': { '/': plain.port } }));
    for (const headers of [
      ['Upgrade: websocket'],
      ['Connection: Upgrade', 'Upgrade: websockets'],
    ]) {
      const { status } = await send(rig.front.port, { host: 'chat.example', headers });
      expect(status).toBe(200);
      expect(valuesOf(plain.request, 'sec-websocket-key')).toEqual([]);
    }
  });

  it('keeps the upstream waiting while the client reads nothing', async () => {
    const { client, peer } = await open();
    client.socket.pause();
    const chunk = Buffer.alloc(MIB);
    let sent = 0;
    // Sent, but not yet written: what ws keeps for a connection that is full.
    while (peer.socket.bufferedAmount < 4 * MIB && sent < 512) {
      peer.socket.send(chunk);
      sent += 1;
      await setTimeout(1);
    }
    expect(sent).toBeLessThan(512);
    client.socket.resume();
    expect((await client.take(sent)).every((it) => (it as Buffer).length === MIB)).toBe(true);
  });

  it('does not keep the front from closing', async () => {
    await using own = await startRig();
    await own.publish(snapshotOf({ 'chat.example': { '/ws': chat.port } }));
    const wire = await Wire.dial(own.front.port);
    wire.write(headText({ host: 'chat.example', target: '/ws', headers: HANDSHAKE }));
    expect((await readHead(wire)).startLine).toBe('HTTP/1.1 101 Switching Protocols');
    const { peer } = await chat.connected;
    await own.front.close();
    expect((await peer.closed).code).toBe(1006);
    wire.destroy();
  });
});

const HANDSHAKE = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
