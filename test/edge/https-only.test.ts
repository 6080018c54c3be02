import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { valueIn } from '../support/message.ts';
import { type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { sendToWorker } from '../support/worker-request.ts';

describe('a host for https only', () => {
  let rig: Rig;
  let upstream: Upstream;

  beforeAll(async () => {
    upstream = await Upstream.start(answering(ok('served')));
    rig = await startRig({ httpsPort: 443 });
    const paths = { '/': upstream.port, '/none': [] };
    const snapshot = snapshotOf({ 'a.example': paths, 'open.example': paths, '*': paths });
    const httpsOnly = { httpsOnly: true } as const;
    await rig.publish(withSettings(snapshot, { 'a.example': httpsOnly, '*': httpsOnly }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  async function location(request: RawRequest): Promise<string | null> {
    const response = await send(rig.front.port, request);
    expect([response.status, upstream.dials]).toEqual([308, 0]);
    return valueIn(response, 'location');
  }

  it.each(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'])(
    'sends %s to the same URL with https',
    async (method) => {
      const response = await send(rig.front.port, { method, target: '/x?y=1' });
      expect(response.startLine).toBe('HTTP/1.1 308 Permanent Redirect');
      expect(valueIn(response, 'location')).toBe('https://a.example/x?y=1');
      const id = valueIn(response, 'x-request-id');
      expect(id).toMatch(/^[0-9a-f]{32}$/);
      const body = `308 Permanent Redirect\nrequest id: ${id}\n`;
      expect(String(response.body)).toBe(method === 'HEAD' ? '' : body);
      // What an Ingress asks for can be taken back.
      expect(valueIn(response, 'cache-control')).toBe('no-store');
      expect(upstream.dials).toBe(0);
    },
  );

  it.each([
    ['/', 'https://a.example/'],
    ['/a%2Fb/%C3%A9//c?q=%20&r=a+b#', 'https://a.example/a%2Fb/%C3%A9//c?q=%20&r=a+b'],
    ['/a/../b', 'https://a.example/b'],
    ['//evil.example/..', 'https://a.example//'],
    ['/?next=//evil.example', 'https://a.example/?next=//evil.example'],
    ['/%0d%0aSet-Cookie:%20a=b', 'https://a.example/%0d%0aSet-Cookie:%20a=b'],
  ])('keeps %s', async (target, wanted) => {
    expect(await location({ target })).toBe(wanted);
  });

  it.each([
    ['a.example:8787', 'https://a.example/'],
    ['A.EXAMPLE.', 'https://a.example/'],
    ['[::1]:80', 'https://[::1]/'],
    ['192.0.2.1:80', 'https://192.0.2.1/'],
    ['other_name', 'https://other_name/'],
  ])('names %s without its port', async (host, wanted) => {
    expect(await location({ host })).toBe(wanted);
  });

  it.each([
    ['[fe80::1]x]', null],
    ['evil:80:[::1]:', 'https://evil/'],
    ['[::1', null],
    ['::1]', null],
    ['-[]', null],
  ])('makes of %s, which is no host, %s', async (host, wanted) => {
    const response = await send(rig.front.port, { host });
    expect(response.status).toBe(wanted === null ? 400 : 308);
    expect(valueIn(response, 'location')).toBe(wanted);
    expect(upstream.dials).toBe(0);
  });

  it.each(['a b', 'a"<x>', 'a%0d%0ab', 'user@a.example', '\u00e4.example', "a'b", 'a\\b'])(
    'does not write back %s, should it ever get to the worker',
    async (host) => {
      const response = await sendToWorker(rig, { scheme: 'http', host });
      expect(response.status).toBe(400);
      expect(valueIn(response, 'location')).toBeNull();
      expect(upstream.dials).toBe(0);
    },
  );

  it('goes by the host that was matched, not by where a browser would see its end', async () => {
    const host = 'a.example:80@evil.example';
    const response = await sendToWorker(rig, { scheme: 'http', host });
    expect(valueIn(response, 'location')).toBe('https://a.example/');
  });

  it('sends WebSocket clients there as well', async () => {
    const headers = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    expect(await location({ target: '/ws', headers })).toBe('https://a.example/ws');
  });

  it('sends those with a body, read or not', async () => {
    const headers = ['Content-Length: 100000'];
    const request = { method: 'POST', headers, body: 'x'.repeat(100_000) };
    expect(await location(request)).toBe('https://a.example/');
  });

  it('sends before anybody looks for an endpoint', async () => {
    expect(await location({ target: '/none' })).toBe('https://a.example/none');
  });

  it('answers over https', async () => {
    const response = await sendToWorker(rig);
    expect([response.status, String(response.body)]).toEqual([200, 'served']);
  });

  it('lets a client say nothing of its scheme', async () => {
    const headers = ['X-Forwarded-Proto: https', 'X-Forwarded-Ssl: on', 'Forwarded: proto=https'];
    const scheme = ['CF-Visitor: {"scheme":"https"}', 'MF-CF-Blob: {"tlsVersion":"TLSv1.3"}'];
    expect(await location({ headers: [...headers, ...scheme] })).toBe('https://a.example/');
    expect(await location({ target: 'https://a.example/' })).toBe('https://a.example/');
  });

  it.each(['token', 'a/b', ''])('answers challenges of ACME without: %s', async (token) => {
    const target = `/.well-known/acme-challenge/${token}`;
    const response = await send(rig.front.port, { target });
    expect([response.status, String(response.body)]).toEqual([200, 'served']);
    expect(upstream.request.target).toBe(target);
  });

  it.each([
    ['/.well-known/acme-challenge', '/.well-known/acme-challenge'],
    ['/.well-known/acme-challenges/x', '/.well-known/acme-challenges/x'],
    ['/.well-known/acme-challenge/../../admin', '/admin'],
    ['/.well-known/acme-challenge/%2e%2E/x', '/.well-known/x'],
    ['/x/.well-known/acme-challenge/y', '/x/.well-known/acme-challenge/y'],
    ['/?/.well-known/acme-challenge/y', '/?/.well-known/acme-challenge/y'],
    ['/.WELL-KNOWN/acme-challenge/y', '/.WELL-KNOWN/acme-challenge/y'],
  ])('takes %s for no challenge', async (target, wanted) => {
    expect(await location({ target })).toBe(`https://a.example${wanted}`);
  });

  it('is no other host', async () => {
    expect((await send(rig.front.port, { host: 'open.example' })).status).toBe(200);
  });
});

it('a redirect names the port at which https is', async () => {
  await using rig = await startRig({ httpsPort: 8443 });
  const snapshot = snapshotOf({ 'a.example': { '/': [] } });
  await rig.publish(withSettings(snapshot, { 'a.example': { httpsOnly: true } }));
  const response = await send(rig.front.port, { host: 'a.example:8787', target: '/x' });
  expect(valueIn(response, 'location')).toBe('https://a.example:8443/x');
});
