import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readHead, readRequest, readResponse, valueIn, valuesOf } from '../support/message.ts';
import { ADMIN_HOST, headText, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

const WEBSOCKET = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

describe('the front', () => {
  let rig: Rig;
  let upstream: Upstream;

  beforeAll(async () => {
    upstream = await Upstream.start(answering(({ target }) => ok(target)));
    rig = await startRig();
    await rig.publish(snapshotOf({ 'a.example': { '/': upstream.port } }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  it('answers requests on one connection in their order', async () => {
    const wire = await Wire.dial(rig.front.port);
    const keep = { headers: ['Connection: keep-alive'] };
    for (const target of ['/1', '/2', '/3']) wire.write(headText({ target, ...keep }));
    for (const target of ['/1', '/2', '/3']) {
      expect((await readResponse(wire)).body.toString()).toBe(target);
    }
    wire.write(headText({ target: '/4' }));
    expect((await readResponse(wire)).body.toString()).toBe('/4');
    expect(await wire.ended()).toBe(true);
    wire.destroy();
  });

  it('takes nothing from a client past a refused upgrade', async () => {
    const lie = 'CF-Connecting-IP: 6.6.6.6';
    for (const host of ['a.example', 'nowhere.example']) {
      const wire = await Wire.dial(rig.front.port);
      wire.write(headText({ host, headers: WEBSOCKET }));
      const answer = await readResponse(wire);
      expect(answer.status).toBe(host === 'a.example' ? 200 : 404);
      expect(valueIn(answer, 'connection')).toBe('close');
      // What follows must be lost, and not reach the worker without passing the front.
      wire.write(headText({ target: '/smuggled', headers: [lie] }));
      wire.write(headText({ host: ADMIN_HOST, target: '/healthz', headers: [lie] }));
      expect((await wire.rest()).toString()).toBe('');
      wire.destroy();
    }
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/']);
  });

  it.each([
    [
      'that is not for WebSocket',
      ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'],
    ],
    ['that Connection does not name', ['Connection: keep-alive', 'Upgrade: websocket']],
  ])('treats an upgrade %s as a plain request', async (_, headers) => {
    const wire = await Wire.dial(rig.front.port);
    wire.write(headText({ target: '/1', headers }));
    expect((await readResponse(wire)).body.toString()).toBe('/1');
    expect(valuesOf(upstream.request, 'upgrade')).toEqual([]);
    wire.write(headText({ target: '/2' }));
    expect((await readResponse(wire)).body.toString()).toBe('/2');
    wire.destroy();
  });

  it('serves a POST with an upgrade as a plain request too', async () => {
    const headers = [...WEBSOCKET, 'Content-Length: 2'];
    const { status } = await send(rig.front.port, { method: 'POST', headers, body: 'hi' });
    expect(status).toBe(200);
    expect(upstream.request.body.toString()).toBe('hi');
  });

  it('outlives headers that Node reads but does not write', async () => {
    const { status } = await send(rig.front.port, { headers: ['Trailer: X-End'] });
    expect(status).toBe(200);
    const length = { headers: ['Trailer: X-End', 'Content-Length: 2'], body: 'hi' };
    expect((await send(rig.front.port, { method: 'POST', ...length })).status).toBe(200);
  });

  it('does not lose a header among thousands, least of all one about framing', async () => {
    const many = Array.from({ length: 3_000 }, (_, index) => `X${index}: 1`);
    const hidden = headText({ target: '/smuggled', headers: ['CF-Connecting-IP: 6.6.6.6'] });
    const wire = await Wire.dial(rig.front.port);
    const framing = ['Connection: keep-alive', 'X-Last: 1', `Content-Length: ${hidden.length}`];
    wire.write(headText({ method: 'POST', target: '/1', headers: [...many, ...framing] }) + hidden);
    expect((await readResponse(wire)).body.toString()).toBe('/1');
    expect(valueIn(upstream.request, 'x-last')).toBe('1');
    expect(upstream.request.body.toString()).toBe(hidden);
    wire.write(headText({ target: '/2' }));
    expect((await readResponse(wire)).body.toString()).toBe('/2');
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/1', '/2']);
    wire.destroy();
  });

  it('answers a client of HTTP/1.0 to its end', async () => {
    const wire = await Wire.dial(rig.front.port);
    wire.write('GET /old HTTP/1.0\r\nHost: a.example\r\n\r\n');
    const answer = await readResponse(wire);
    expect(valuesOf(answer, 'transfer-encoding')).toEqual([]);
    expect(answer.body.toString()).toBe('/old');
    expect(await wire.ended()).toBe(true);
    wire.destroy();
  });

  it('lets a body of unknown length end with the connection for a client of HTTP/1.0', async () => {
    const { promise: go, resolve: goOn } = Promise.withResolvers<void>();
    await using other = await Upstream.start(async (wire) => {
      await readRequest(wire);
      wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
      await go;
      wire.end('6\r\n world\r\n0\r\n\r\n');
    });
    await rig.publish(
      snapshotOf({ 'a.example': { '/': upstream.port }, 'b.example': { '/': other.port } }),
    );
    const wire = await Wire.dial(rig.front.port);
    wire.write('GET / HTTP/1.0\r\nHost: b.example\r\n\r\n');
    const head = await readHead(wire);
    expect(valuesOf(head, 'transfer-encoding')).toEqual([]);
    goOn();
    expect((await wire.rest()).toString()).toBe('hello world');
    wire.destroy();
  });

  it('closes with connections open, also those of half a request', async () => {
    await using own = await startRig();
    const silent = await Wire.dial(own.front.port);
    const half = await Wire.dial(own.front.port);
    half.write('GET / HTTP/1.1\r\nHost: a.ex');
    const idle = await Wire.dial(own.front.port);
    idle.write(headText({ headers: ['Connection: keep-alive'] }));
    expect((await readResponse(idle)).status).toBe(503);
    await own.front.close();
    expect(await Promise.all([silent, half, idle].map((wire) => wire.ended()))).toEqual([
      true,
      true,
      true,
    ]);
    for (const wire of [silent, half, idle]) wire.destroy();
  });
});
