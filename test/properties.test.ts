import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeSnapshot } from '../snapshot/codec.ts';
import { hostnameCandidates, isIngressHost, normaliseHost } from '../snapshot/hostname.ts';
import { shardIndex } from '../snapshot/keys.ts';
import { CATCH_ALL_HOST, type Destination, type Snapshot } from '../snapshot/types.ts';
import { DEFAULTS } from '../syncer/compile/options.ts';
import { compile } from '../syncer/compile.ts';
import { parseRequestUrl } from '../worker/request-url.ts';
import { oracle } from './support/oracle.ts';
import { answerText, Published } from './support/published.ts';
import {
  everything,
  externalServices,
  ingress,
  ingresses,
  stateOf,
} from './support/random-cluster.ts';

const options = fc.record({
  hostOwnership: fc.constantFrom('shared' as const, 'strict' as const),
  watchIngressWithoutClass: fc.boolean(),
  disableCatchAll: fc.boolean(),
  dialer: fc.constantFrom('socket' as const, 'vpc' as const),
  addressPolicy: fc.constantFrom('local' as const, 'production' as const),
  defaultBackendService: fc.constantFrom(null, { namespace: 'team-a', name: 'web', port: null }),
});

describe('the compiler', () => {
  test('makes the same bytes and problems of the same objects in any order', async () => {
    const shuffled = everything.chain((objects) =>
      fc.tuple(
        fc.constant(objects),
        fc.shuffledSubarray([...objects], { minLength: objects.length }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(shuffled, options, async ([objects, again], chosen) => {
        const [one, two] = [objects, again.map(backwards)].map((raw) =>
          compile(stateOf(raw), { ...DEFAULTS, ...chosen }),
        );
        expect(two?.problems).toEqual(one?.problems);
        expect(await bytesOf(two?.snapshot)).toEqual(await bytesOf(one?.snapshot));
      }),
      { numRuns: 300 },
    );
  });

  test('changes no route that a new Ingress does not claim', () => {
    fc.assert(
      fc.property(everything, ingress('new'), options, (objects, added, chosen) => {
        // Strict ownership is there so that a new Ingress can take from others what is theirs.
        const rules = { ...DEFAULTS, ...chosen, hostOwnership: 'shared' as const };
        const before = compile(stateOf(objects), rules);
        const after = compile(stateOf([...objects, added]), rules);
        const claimed = new Set(
          after.claims.filter((it) => it.ingress.name === 'new').map(claimKey),
        );
        const untouched = (snapshot: Snapshot) =>
          [...destinations(snapshot)].filter(
            // A host that is new gets the controller's own default backend, which nobody claims.
            ([key, { source }]) => !claimed.has(key) && source.kind === 'Ingress',
          );
        expect(untouched(after.snapshot)).toEqual(untouched(before.snapshot));
        const endpoints = new Map(after.snapshot.upstreams.map((it) => [it.name, it]));
        for (const [key, { upstream }] of untouched(before.snapshot)) {
          const was = before.snapshot.upstreams.find((it) => it.name === upstream);
          expect(endpoints.get(upstream), key).toEqual(was);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('the matcher', () => {
  const host = fc.constantFrom(
    ...['a.example', 'A.EXAMPLE:8080', 'b.example.', 'x.b.example', 'y.b.example', 'z.y.b.example'],
    ...['q.example', 'example', '.example', 'aexample', 'a.example.x', 'constructor', 'toString'],
    ...['bad_host.example', '192.0.2.1', 'x.192.0.2.1', 'other'],
  );
  const segment = fc.constantFrom(
    ...['a', 'b', 'ab', 'A', 'aa', '', 'é', '%C3%A9', '%c3%a9', 'a%20b', 'a b', 'a+b'],
    ...['__proto__', 'constructor', '.', '..', '%2e%2e', '...', 'a;b', '%2F'],
  );
  const path = fc
    .tuple(fc.array(segment, { maxLength: 4 }), fc.constantFrom('', '/', '?q', '?/a/b', '#a'))
    .map(([segments, end]) => `/${segments.join('/')}${end}`);
  const requests = fc.array(fc.tuple(host, path), { minLength: 100, maxLength: 100 });

  test('agrees with a plain reading of the specification', async () => {
    let compared = 0;
    const routed = new Set<string>();
    await fc.assert(
      fc.asyncProperty(ingresses, externalServices, requests, async (made, services, asked) => {
        const { snapshot } = compile(stateOf([...made, ...services]), DEFAULTS);
        const published = await Published.of(snapshot);
        for (const [authority, path] of asked) {
          const request = `http://${authority}${path}`;
          const expected = oracle(made, services, new URL(`http://host${path}`), authority);
          expect(`${request} -> ${answerText(published.match(request))}`).toBe(
            `${request} -> ${expected}`,
          );
          compared += 1;
          routed.add(expected);
        }
      }),
      { numRuns: 300 },
    );
    expect(compared).toBeGreaterThanOrEqual(20_000);
    // The requests were not all for nothing.
    expect(routed.size).toBeGreaterThan(20);
  });
});

describe('a request URL', () => {
  const token = fc.constantFrom(
    ...['a', 'B', '/', '/', '//', '.', '..', '/../', '/./', '%2e', '%2E', '/%2e%2E/', '%2f', '%5C'],
    ...['\\', ' ', 'é', '😀', '\ud800', '{', '}', '"', '|', '[', ']', '^', '`', '<', '%', '%zz'],
    ...[';', ':', '@', "'", '*', '\t', '\u0001', '\u007f', '\u00a0', '\ufeff'],
  );
  const query = fc.constantFrom('?', '?a=b', '?/../x', '??', '?a#b', '#a?b', '?é');
  const url = fc
    .tuple(fc.constantFrom('http', 'https'), fc.array(token, { maxLength: 12 }), query)
    .map(([scheme, tokens, end]) => `${scheme}://app.example:8080/${tokens.join('')}${end}`);

  test('has the path of the URL standard, and every byte of a path that is canonical', () => {
    fc.assert(
      fc.property(url, (text) => {
        const parsed = parseRequestUrl(text);
        const path = new URL(text).pathname;
        expect(parsed?.path).toBe(path);
        expect(parsed?.authority).toBe('app.example:8080');
        expect(`${parsed?.scheme}:`).toBe(new URL(text).protocol);
        const raw = text.slice(text.indexOf('/', 8)).replace(/[?#].*$/s, '');
        if (path === raw) expect(text).toContain(`8080${parsed?.path}`);
      }),
      { numRuns: 3_000 },
    );
  });

  test('has no dot segment, nothing invisible, and stays as it is', () => {
    fc.assert(
      fc.property(url, (text) => {
        const parsed = parseRequestUrl(text);
        const path = parsed?.path ?? '';
        expect(path).toMatch(/^\/[\x21-\x7e]*$/);
        expect(path.split('/').filter((it) => /^(\.|%2e){1,2}$/i.test(it))).toEqual([]);
        expect(parsed?.search).toMatch(/^(\?[\x21-\x7e]*)?$/);
        expect(parseRequestUrl(`http://app.example:8080${path}${parsed?.search}`)).toEqual({
          ...parsed,
          scheme: 'http',
        });
      }),
      { numRuns: 3_000 },
    );
  });

  test.each(['', '*', 'http:', 'http://', 'http:///a', 'http://?a', 'ftp://a/', 'a.example/'])(
    'is none: %j',
    (text) => expect(parseRequestUrl(text)).toBeNull(),
  );
});

describe('a hostname', () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?$/);
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));

  test('is the same in upper case, with a port and with a trailing dot', () => {
    fc.assert(
      fc.property(name, fc.constantFrom('', ':80', '.', '.:8443'), (host, end) => {
        expect(normaliseHost(host.toUpperCase() + end)).toBe(host);
        expect(normaliseHost(normaliseHost(host + end))).toBe(host);
      }),
    );
  });

  test('may be served by itself, by the wildcard of its parent, and by the catch-all', () => {
    fc.assert(
      fc.property(name, label, label, (parent, one, two) => {
        const [host, deeper] = [`${one}.${parent}`, `${two}.${one}.${parent}`];
        expect(hostnameCandidates(host)).toEqual([host, `*.${parent}`, CATCH_ALL_HOST]);
        expect(hostnameCandidates(deeper)).not.toContain(`*.${parent}`);
        expect(hostnameCandidates(parent)).not.toContain(`*.${parent}`);
      }),
    );
  });

  test('lies in one shard with its wildcard', () => {
    fc.assert(
      fc.property(name, label, fc.nat(12), (parent, one, power) => {
        const count = 2 ** power;
        const index = shardIndex(`${one}.${parent}`, count);
        expect(shardIndex(`*.${parent}`, count)).toBe(index);
        expect(index).toBeGreaterThanOrEqual(0);
        expect(index).toBeLessThan(count);
      }),
    );
  });

  test('is one of a rule only if it is a DNS name', () => {
    fc.assert(
      fc.property(name, fc.string(), (host, junk) => {
        const isAddress = /^\d+(\.\d+){3}$/.test(host);
        expect(isIngressHost(host)).toBe(!isAddress);
        expect(isIngressHost(`*.${host}`)).toBe(!isAddress);
        expect(isIngressHost(`${host}.*`)).toBe(false);
        // A URL takes what ends in a number for an IPv4 address.
        if (!isIngressHost(junk) || /(^|\.)(\d+|0x[\da-f]*)$/.test(junk)) return;
        expect(new URL(`http://x.${junk}`).hostname).toBe(`x.${junk}`);
      }),
    );
  });
});

/** With the lists turned round whose order says nothing, and which controllers rewrite at will. */
function backwards(raw: Readonly<Record<string, unknown>>): object {
  const { endpoints, spec } = raw as { endpoints?: unknown[]; spec?: { externalIPs?: string[] } };
  return {
    ...raw,
    ...(endpoints && { endpoints: endpoints.toReversed() }),
    ...(spec?.externalIPs && { spec: { ...spec, externalIPs: spec.externalIPs.toReversed() } }),
  };
}

async function bytesOf(snapshot: Snapshot | undefined): Promise<unknown> {
  if (!snapshot) return null;
  const { version, manifest, shards } = await encodeSnapshot(snapshot);
  const texts = [...shards].map(([hash, bytes]) => `${hash} ${Buffer.from(bytes)}`);
  return { version, manifest, shards: texts.sort() };
}

function claimKey({ hostname, match }: { hostname: string; match: Destination | object | null }) {
  return JSON.stringify([hostname, match]);
}

function destinations(snapshot: Snapshot): Map<string, Destination> {
  const found = new Map<string, Destination>();
  for (const { hostname, routes, defaultBackend } of snapshot.virtualHosts) {
    for (const { match, upstream, source } of routes) {
      found.set(claimKey({ hostname, match }), { upstream, source });
    }
    if (defaultBackend) found.set(claimKey({ hostname, match: null }), defaultBackend);
  }
  return found;
}
