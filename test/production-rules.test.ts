import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { classifyAddress, isRefusedInProduction } from '../snapshot/address.ts';
import type { Endpoint, Snapshot } from '../snapshot/types.ts';
import { type Edge, PUBLIC_ADDRESS, startEdge } from './production-rules/edge.ts';
import { startGateway } from './production-rules/gateway.ts';
import { startUpstream, type Upstream } from './production-rules/upstream.ts';

const REFUSED = 'proxy request failed, cannot connect to the specified address';
const ADVICE =
  '. It looks like you might be trying to connect to a HTTP-based service — consider using fetch instead';

let upstream: Upstream;
let edge: Edge;

/** A name that is not `localhost` and yet leads into this machine's own network, if it has one. */
const privateName = await lookup(hostname()).then(
  ({ address }) => (isRefusedInProduction(classifyAddress(address)) ? hostname() : null),
  () => null,
);

beforeAll(async () => {
  upstream = await startUpstream();
  edge = await startEdge(upstream.port);
});

afterAll(async () => {
  await edge.stop();
  upstream.stop();
});

describe('fetch() to an IP address', () => {
  const fetched = (url: string, rules: 'on' | 'off') => edge.call('fetch', { url, rules });
  const answered = (host: string) => ({ status: 200, body: `upstream of ${host}` });
  const refused = { status: 403, body: 'error code: 1003' };

  test('is answered as production answers it, and by plain workerd is made', async () => {
    const url = `http://127.0.0.1:${upstream.port}/`;
    expect(await fetched(url, 'on')).toEqual(refused);
    expect(await fetched(url, 'off')).toEqual(answered(`127.0.0.1:${upstream.port}`));
  });

  test.each(['127.1', '0x7f.0.0.1', '2130706433', '0177.0.0.1', '127.0.0.1.', '１２７.0.0.1'])(
    'is known in the spelling %s',
    async (host) => {
      const url = `http://${host}:${upstream.port}/`;
      expect(await fetched(url, 'on')).toEqual(refused);
      expect(await fetched(url, 'off')).toEqual(answered(`127.0.0.1:${upstream.port}`));
    },
  );

  test.each(['[::ffff:127.0.0.1]', '[::FFFF:7f00:1]'])('is known as IPv6: %s', async (host) => {
    const url = `http://${host}:${upstream.port}/`;
    expect(await fetched(url, 'on')).toEqual(refused);
    expect(await fetched(url, 'off')).toMatchObject({ status: 200 });
  });

  test('is known at the end of a redirect', async () => {
    const origin = `http://localhost:${upstream.port}/`;
    const url = `${origin}?to=http://127.0.0.1:${upstream.port}/`;
    expect(await fetched(url, 'on')).toEqual(refused);
    expect(await fetched(url, 'off')).toEqual(answered(`127.0.0.1:${upstream.port}`));
  });

  test('does not keep others from passing', async () => {
    const url = `http://localhost:${upstream.port}/`;
    expect(await fetched(url, 'on')).toEqual(answered(`localhost:${upstream.port}`));
  });
});

describe('connect()', () => {
  const connected = (host: string, port: number, rules: 'on' | 'off' | 'network') =>
    edge.call('connect', { hostname: host, port, rules });

  test.each(['127.0.0.1', 'localhost', '127.1', '2130706433', '0.0.0.0', '[::ffff:127.0.0.1]'])(
    'to %s is refused, and by plain workerd made',
    async (host) => {
      expect(await connected(host, upstream.port, 'on')).toEqual({ error: REFUSED });
      expect(await connected(host, upstream.port, 'off')).toBe('opened');
    },
  );

  test.each([
    ['private', '10.0.0.1'],
    ['private', '[fd00::1]'],
    ['shared', '100.64.0.1'],
    ['loopback', '[::1]'],
    ['link-local', '169.254.169.254'],
    ['link-local', '[fe80::1]'],
    ['multicast', '224.0.0.1'],
    ['reserved', '240.0.0.1'],
    ['Cloudflare’s', '104.16.0.1'],
    ['Cloudflare’s', '[2606:4700::1]'],
  ])('to a %s address, %s, is refused', async (_kind, host) => {
    expect(await connected(host, 9, 'on')).toEqual({ error: REFUSED });
  });

  test('to where HTTP is spoken is refused with advice', async () => {
    expect(await connected('10.0.0.1', 443, 'on')).toEqual({ error: REFUSED + ADVICE });
  });

  test('to port 25 is refused, and by plain workerd made', async () => {
    const error = 'Connections to port 25 are prohibited';
    expect(await connected(PUBLIC_ADDRESS, 25, 'on')).toEqual({ error });
    expect(await connected(PUBLIC_ADDRESS, 25, 'off')).toBe('opened');
  });

  test('to a public address passes', async () => {
    expect(await connected(PUBLIC_ADDRESS, 30080, 'on')).toBe('opened');
  });

  test.skipIf(privateName === null)(
    'to a name that leads to a private address is refused, and by plain workerd made',
    async () => {
      const name = privateName ?? '';
      expect(await connected(name, upstream.port, 'network')).toEqual({ error: REFUSED });
      expect(await connected(name, upstream.port, 'off')).toBe('opened');
    },
  );
});

describe('the seventh connection', () => {
  test.each(['fetch', 'connect', 'kv', 'd1'])(
    'waits until one of six has its answer: %s',
    async (kind) => {
      expect(await edge.call('seventh', { kind, port: upstream.port })).toEqual({
        begunWhileSixWait: false,
        begunWhenOneWasAnswered: true,
      });
    },
  );

  test('does not wait in plain workerd', async () => {
    const answer = edge.call('hold', { port: upstream.port, count: 7, rules: 'off' });
    await upstream.untilHeld(7);
    upstream.releaseAll();
    expect(await answer).toBe('answered');
  });

  test('does not wait for six of another request', async () => {
    const answer = edge.call('hold', { port: upstream.port, count: 6, rules: 'on' });
    await upstream.untilHeld(6);
    const url = `http://localhost:${upstream.port}/`;
    expect(await edge.call('fetch', { url, rules: 'on' })).toMatchObject({ status: 200 });
    upstream.releaseAll();
    expect(await answer).toBe('answered');
  });

  test('is a socket that can be used before its turn', async () => {
    const text = 'GET / HTTP/1.1\r\nhost: early\r\nconnection: close\r\n\r\n';
    const answer = await edge.call('talk', { port: upstream.port, text });
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*upstream of early/);
  });
});

describe('Workers KV', () => {
  const read = (key: string, options: { rules?: 'off'; type?: string; cacheTtl?: number } = {}) =>
    edge.call('get', { key, rules: 'on', ...options });
  const put = (key: string, value: string, version: number) =>
    edge.call('put', { key, value, version });
  const value = (text: unknown, version: number | null = 1) => ({
    value: text,
    metadata: version && { version },
    isSame: true,
  });
  const missing = value(null, null);

  test('shows a new key when the miss is 60 seconds old, plain workerd at once', async () => {
    expect(await read('new')).toEqual(missing);
    expect(await put('new', 'here', 1)).toEqual([{ version: 1 }]);
    expect(await read('new', { rules: 'off' })).toEqual(value('here'));
    await edge.call('advance', { seconds: 59.999 });
    expect(await read('new')).toEqual(missing);
    await edge.call('advance', { seconds: 0.001 });
    expect(await read('new')).toEqual(value('here'));
  });

  test('shows a change when what was read is as old as cacheTtl says', async () => {
    await put('changed', '"old"', 1);
    expect(await read('changed', { cacheTtl: 3600 })).toEqual(value('"old"'));
    expect(await put('changed', '"new"', 2)).toEqual([{ version: 2 }]);
    await edge.call('advance', { seconds: 3599 });
    // By key, whatever the value is read as.
    expect(await read('changed', { cacheTtl: 3600, type: 'json' })).toEqual(value('old'));
    // To ask for what is fresher than what was asked for before, is heard.
    expect(await read('changed', { cacheTtl: 30 })).toEqual(value('"new"', 2));
    expect(await read('changed', { cacheTtl: 3600 })).toEqual(value('"new"', 2));
  });

  test('remembers each key of many', async () => {
    await put('many/a', 'old', 1);
    await read('many/a');
    await put('many/a', 'new', 2);
    await put('many/b', 'new', 2);
    expect(await edge.call('getMany', { keys: 'many/a,many/b' })).toEqual([
      ['many/a', 'old'],
      ['many/b', 'new'],
    ]);
  });

  test('refuses a cacheTtl below 30 seconds, even of what it remembers', async () => {
    await read('short', { cacheTtl: 30 });
    const error = 'KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30.';
    expect(await read('short', { cacheTtl: 29 })).toEqual({ error });
  });
});

describe('the gateway', () => {
  test('behind its own dialer’s rules refuses what production refuses, and serves the rest', async () => {
    await edge.publish(
      snapshotOf({
        'public.example.com': [{ host: PUBLIC_ADDRESS, port: 30080 }],
        'private.example.com': [{ host: '127.0.0.1', port: upstream.port }],
        'empty.example.com': [],
      }),
    );
    expect(await edge.status('rules', 'public.example.com')).toBe(200);
    expect(await edge.status('rules', 'private.example.com')).toBe(502);
    expect(await edge.status('plain', 'private.example.com')).toBe(200);
    expect(await edge.status('rules', 'empty.example.com')).toBe(503);
    expect(await edge.status('rules', 'other.example.com')).toBe(404);
  });

  test('of `causeway dev --production-rules` refuses addresses, and names that lead to them', async () => {
    const gateway = await startGateway(
      snapshotOf({
        'private.example.com': [{ host: '127.0.0.1', port: upstream.port }],
        'mail.example.com': [{ host: PUBLIC_ADDRESS, port: 25 }],
        'name.example.com': [{ host: privateName ?? 'localhost', port: upstream.port }],
      }),
    );
    try {
      const refusal = (cause: string) => ({ status: 502, cause: expect.stringContaining(cause) });
      expect(await gateway.ask('private.example.com')).toEqual(refusal('the address is loopback'));
      expect(await gateway.ask('mail.example.com')).toEqual(refusal('port 25 are prohibited'));
      const cause = privateName === null ? 'the address is loopback' : REFUSED;
      expect(await gateway.ask('name.example.com')).toEqual(refusal(cause));
    } finally {
      await gateway.stop();
    }
  });
});

/** One host for each upstream. */
function snapshotOf(endpoints: Readonly<Record<string, readonly Endpoint[]>>): Snapshot {
  const source = { kind: 'Ingress', namespace: 'default', name: 'test' };
  const hosts = Object.keys(endpoints).sort();
  return {
    virtualHosts: hosts.map((hostname) => ({
      hostname,
      owner: 'default',
      routes: [{ match: { type: 'Prefix', path: '/' }, upstream: hostname, source }],
    })),
    upstreams: hosts.map((name) => ({ name, dialer: 'socket', endpoints: endpoints[name] ?? [] })),
  };
}
