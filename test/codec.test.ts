import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CorruptSnapshotError,
  decodeManifest,
  decodeShard,
  type EncodedSnapshot,
  encodeSnapshot,
  sha256,
} from '../snapshot/codec.ts';
import { SHARD_SIZE_BYTES_TARGET } from '../snapshot/keys.ts';
import { compareText } from '../snapshot/precedence.ts';
import type { Snapshot, Upstream, VirtualHost } from '../snapshot/types.ts';
import { DEFAULTS } from '../syncer/compile/options.ts';
import { compile } from '../syncer/compile.ts';
import { answerText, Published } from './support/published.ts';
import { everything, stateOf } from './support/random-cluster.ts';

const SOURCE = { kind: 'Ingress', namespace: 'shop', name: 'web' };

const snapshots: fc.Arbitrary<Snapshot> = everything.map(
  (objects) => compile(stateOf(objects), { ...DEFAULTS, addressPolicy: 'local' }).snapshot,
);

/** So many hosts, each with an upstream of its own and as many bytes as are wanted in all. */
function large(hostCount: number, sizeBytes: number): Snapshot {
  const padding = 'x'.repeat(Math.floor(sizeBytes / hostCount));
  const names = Array.from({ length: hostCount }, (_, i) => `shop/s${i}/80`).sort(compareText);
  return {
    virtualHosts: names
      .map((upstream, i): VirtualHost => {
        const match = { type: 'Prefix' as const, path: `/${padding}` };
        const hostname = i === 0 ? '*' : `${i % 3 === 0 ? '*' : 'www'}.h${i}.example`;
        return { hostname, owner: 'shop', routes: [{ match, upstream, source: SOURCE }] };
      })
      .sort((a, b) => compareText(a.hostname, b.hostname)),
    upstreams: names.map(
      (name): Upstream => ({ name, dialer: 'socket', endpoints: [{ host: '8.8.8.8', port: 80 }] }),
    ),
  };
}

async function decoded({ version, manifest, shards }: EncodedSnapshot): Promise<Snapshot> {
  const { catchAllShard, shards: hashes } = await decodeManifest(manifest, version);
  const hosts: VirtualHost[] = [];
  const upstreams = new Map<string, Upstream>();
  // Empty shards are one.
  for (const hash of new Set([catchAllShard, ...hashes])) {
    const shard = await decodeShard(shards.get(hash) ?? new Uint8Array(), hash);
    hosts.push(...shard.virtualHosts);
    for (const upstream of shard.upstreams) upstreams.set(upstream.name, upstream);
  }
  return {
    virtualHosts: hosts.sort((a, b) => compareText(a.hostname, b.hostname)),
    upstreams: [...upstreams.values()].sort((a, b) => compareText(a.name, b.name)),
  };
}

describe('what is encoded', () => {
  test('is what is decoded', async () => {
    await fc.assert(
      fc.asyncProperty(snapshots, async (snapshot) => {
        expect(await decoded(await encodeSnapshot(snapshot))).toEqual(snapshot);
      }),
    );
  });

  test.each([1, 2, 8, 64])('is what is decoded, also of %i shards', async (shardCount) => {
    const snapshot = large(shardCount * 12, shardCount * SHARD_SIZE_BYTES_TARGET * 0.8);
    const published = await Published.of(snapshot);
    expect(published.shardCount).toBe(shardCount);
    expect(await decoded(published.encoded)).toEqual(snapshot);
    for (const { hostname, routes } of snapshot.virtualHosts) {
      const url = `http://${hostname.replace('*', 'any')}${routes[0]?.match.path}`;
      expect(answerText(published.match(url))).toBe(`${routes[0]?.upstream} [8.8.8.8:80]`);
    }
    // About as large as they should be; one is at most a few times the target.
    const sizes = [...published.encoded.shards.values()].map((it) => it.byteLength);
    expect(Math.max(...sizes)).toBeLessThan(4 * SHARD_SIZE_BYTES_TARGET);
  });

  test('has the bytes of its content, not of the order of its parts', async () => {
    await fc.assert(
      fc.asyncProperty(snapshots, async (snapshot) => {
        const { virtualHosts, upstreams } = snapshot;
        const backwards = {
          upstreams: upstreams.toReversed(),
          virtualHosts: virtualHosts.toReversed(),
        };
        const [one, two] = await Promise.all([snapshot, backwards].map(encodeSnapshot));
        expect(two?.version).toBe(one?.version);
      }),
    );
  });

  test('changes only the shards of the hosts that change', async () => {
    const before = large(96, 8 * SHARD_SIZE_BYTES_TARGET * 0.8);
    const after = {
      ...before,
      upstreams: before.upstreams.map((it) =>
        it.name === 'shop/s7/80' ? { ...it, endpoints: [] } : it,
      ),
    };
    const [one, two] = await Promise.all([before, after].map(encodeSnapshot));
    const added = [...(two?.shards.keys() ?? [])].filter((hash) => !one?.shards.has(hash));
    expect(added).toHaveLength(1);
  });

  test('without hosts is one empty shard', async () => {
    const { manifest, shards } = await encodeSnapshot({ virtualHosts: [], upstreams: [] });
    expect([...shards.values()].map((bytes) => Buffer.from(bytes).toString())).toEqual([
      '{"virtualHosts":[],"upstreams":[]}',
    ]);
    const [hash] = shards.keys();
    expect(JSON.parse(manifest)).toEqual({ formatVersion: 1, catchAllShard: hash, shards: [hash] });
  });
});

describe('what cannot be encoded', () => {
  const route = (path: string, type: 'Exact' | 'Prefix' = 'Prefix') => ({
    match: { type, path },
    upstream: 'shop/web/80',
    source: SOURCE,
  });
  const upstream: Upstream = { name: 'shop/web/80', dialer: 'socket', endpoints: [] };
  const host = (hostname: string, ...routes: ReturnType<typeof route>[]) => ({
    hostname,
    owner: 'shop',
    routes,
  });

  test.each<[string, Snapshot]>([
    ['a host twice', { virtualHosts: [host('a'), host('a')], upstreams: [] }],
    ['an upstream that is not there', { virtualHosts: [host('a', route('/'))], upstreams: [] }],
    [
      'routes out of order',
      { virtualHosts: [host('a', route('/'), route('/long'))], upstreams: [upstream] },
    ],
    [
      'a Prefix before an Exact',
      { virtualHosts: [host('a', route('/'), route('/', 'Exact'))], upstreams: [upstream] },
    ],
    ['a route twice', { virtualHosts: [host('a', route('/'), route('/'))], upstreams: [upstream] }],
  ])('%s', async (_, snapshot) => {
    await expect(encodeSnapshot(snapshot)).rejects.toThrow(CorruptSnapshotError);
  });
});

describe('what is refused', () => {
  test('a shard with one bit turned, cut short or with more behind it', async () => {
    await fc.assert(
      fc.asyncProperty(snapshots, fc.nat(), fc.nat(7), fc.nat(), async (snapshot, at, bit, nth) => {
        const { shards } = await encodeSnapshot(snapshot);
        const [hash, bytes] = [...shards][nth % shards.size] ?? ['', new Uint8Array()];
        const flipped = Uint8Array.from(bytes);
        flipped[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << bit);
        const longer = Uint8Array.from([...bytes, 0x20]);
        for (const wrong of [flipped, bytes.subarray(0, at % bytes.length), longer]) {
          await expect(decodeShard(wrong, hash)).rejects.toThrow(CorruptSnapshotError);
        }
      }),
    );
  });

  test('a manifest with one character changed, or of another version', async () => {
    await fc.assert(
      fc.asyncProperty(snapshots, fc.nat(), fc.string({ maxLength: 1 }), async (it, at, char) => {
        const { manifest, version } = await encodeSnapshot(it);
        const index = at % manifest.length;
        const changed = manifest.slice(0, index) + char + manifest.slice(index + 1);
        if (changed !== manifest) {
          await expect(decodeManifest(changed, version)).rejects.toThrow(CorruptSnapshotError);
        }
        const other = await sha256(new TextEncoder().encode(changed + char));
        await expect(decodeManifest(manifest, other)).rejects.toThrow(CorruptSnapshotError);
      }),
    );
  });

  // With the right hash: what another build, or a hand, has written.
  const HASH = 'a'.repeat(64);
  test.each([
    'null',
    '[]',
    '{}',
    'not JSON',
    JSON.stringify({ formatVersion: 2, catchAllShard: HASH, shards: [HASH] }),
    JSON.stringify({ formatVersion: 1, catchAllShard: HASH, shards: [] }),
    JSON.stringify({ formatVersion: 1, catchAllShard: HASH, shards: [HASH, HASH, HASH] }),
    JSON.stringify({ formatVersion: 1, catchAllShard: HASH, shards: { length: 1 } }),
    JSON.stringify({ formatVersion: 1, catchAllShard: HASH, shards: [1] }),
    JSON.stringify({ formatVersion: 1, shards: [HASH] }),
    JSON.stringify({ formatVersion: 1, catchAllShard: '../pointer/x', shards: [HASH] }),
  ])('the manifest %s', async (manifest) => {
    const version = await sha256(new TextEncoder().encode(manifest));
    await expect(decodeManifest(manifest, version)).rejects.toThrow(CorruptSnapshotError);
  });

  test.each([
    'null',
    '[]',
    '{}',
    '',
    '\ufeff{"virtualHosts":[],"upstreams":[]}',
    '{"virtualHosts":[null],"upstreams":[]}',
    '{"virtualHosts":[{"hostname":"a"}],"upstreams":[]}',
    '{"virtualHosts":[{"hostname":"b","routes":[]},{"hostname":"a","routes":[]}],"upstreams":[]}',
    '{"virtualHosts":[{"hostname":"a","routes":[{"upstream":"x"}]}],"upstreams":[]}',
    '{"virtualHosts":[{"hostname":"a","routes":[],"defaultBackend":{"upstream":"x"}}],"upstreams":[]}',
    '{"virtualHosts":[],"upstreams":[{"name":"x"},{"name":"x"}]}',
    '{"virtualHosts":[],"upstreams":[{"name":"x","dialer":"socket"}]}',
  ])('the shard %s', async (text) => {
    const bytes = new TextEncoder().encode(text);
    await expect(decodeShard(bytes, await sha256(bytes))).rejects.toThrow(CorruptSnapshotError);
  });

  test('a shard that is not UTF-8', async () => {
    const bytes = Uint8Array.from([0x22, 0xff, 0x22]);
    await expect(decodeShard(bytes, await sha256(bytes))).rejects.toThrow(CorruptSnapshotError);
  });
});
