import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type EncodedSnapshot, encodeSnapshot, sha256 } from '../../snapshot/codec.ts';
import { shardKey } from '../../snapshot/keys.ts';
import type { Sha256 } from '../../snapshot/types.ts';
import { FaultyEdge } from '../support/faulty-edge.ts';
import { valueIn } from '../support/message.ts';
import { send } from '../support/rig.ts';
import { type Backend, snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

describe('the edge', () => {
  let edge: FaultyEdge;
  let old: Upstream;
  let young: Upstream;

  beforeAll(async () => {
    old = await Upstream.start(answering(ok('old')));
    young = await Upstream.start(answering(ok('young')));
    edge = await FaultyEdge.start();
  });

  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
    await old?.[Symbol.asyncDispose]();
    await young?.[Symbol.asyncDispose]();
  });

  beforeEach(() => edge.clear());

  async function ask(host = 'a.example'): Promise<string> {
    const { status, body } = await send(edge.port, { host, target: `http://${host}/` });
    return status === 200 ? String(body) : String(status);
  }

  const to = (backend: Backend) => snapshotOf({ 'a.example': { '/': backend } });

  describe('that is warm', () => {
    it('reads nothing', async () => {
      await edge.publish(to(old.port));
      expect(await ask()).toBe('old');
      await edge.control();
      expect(await ask()).toBe('old');
      expect((await edge.control()).kvReads).toBe(0);
    });

    it('serves on when D1, KV or both are away', async () => {
      await edge.publish(to(old.port));
      expect(await ask()).toBe('old');
      for (const change of [{ d1: 'down' }, { kv: 'down' }, { d1: 'silent' }] as const) {
        await edge.control(change);
        expect(await ask()).toBe('old');
      }
      // Twice, and the second look at the pointer begins while the first still waits.
      expect((await edge.refresh()).refreshError).toMatch(/D1 did not answer/);
      expect(await ask()).toBe('old');
      await edge.control({ d1: 'ok', kv: 'ok' });
      await edge.publish(to(young.port));
      expect((await edge.refresh()).refreshError).toBeNull();
      expect(await ask()).toBe('young');
    });

    it('serves on when the publications are gone from D1', async () => {
      const { version } = await edge.publish(to(old.port));
      expect(await ask()).toBe('old');
      await edge.deletePublications();
      expect(await edge.refresh()).toEqual({ cluster: 'test', version, refreshError: null });
      expect(await ask()).toBe('old');
    });

    it('goes back a version as readily as forth', async () => {
      await edge.publish(to(old.port));
      expect(await ask()).toBe('old');
      await edge.publish(to(young.port));
      await edge.refresh();
      expect(await ask()).toBe('young');
      await edge.publish(to(old.port));
      await edge.refresh();
      expect(await ask()).toBe('old');
    });
  });

  describe('that is cold', () => {
    it('reads the pointer once and one shard for a host', async () => {
      await edge.publish(to(old.port));
      await edge.control();
      expect(await ask()).toBe('old');
      expect(await edge.control()).toEqual({ d1Reads: 1, kvReads: 1 });
    });

    it.each(['down', 'silent'] as const)('takes the mirror in KV while D1 is %s', async (d1) => {
      await edge.publish(to(old.port));
      await edge.control({ d1 });
      expect(await ask()).toBe('old');
    });

    it('serves what an older syncer published, whose hosts have no owner', async () => {
      const { virtualHosts, upstreams } = to(old.port);
      const owner = undefined as unknown as string;
      await edge.publish({ virtualHosts: virtualHosts.map((it) => ({ ...it, owner })), upstreams });
      expect(await ask()).toBe('old');
    });

    it('takes the mirror in KV when D1 was made anew', async () => {
      await edge.publish(to(old.port), { d1: false });
      expect(await ask()).toBe('old');
    });

    it('takes the mirror in KV when the shards that D1 leads to are not there', async () => {
      await edge.publish(to(old.port));
      await edge.publish(to(young.port), { mirror: false, spoil: withoutShards });
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask()));
      expect(new Set(answers)).toEqual(new Set(['old']));
    });

    it('answers 503 while both are down, and serves as soon as one is back', async () => {
      await edge.publish(to(old.port));
      for (const back of [{ d1: 'ok', kv: 'ok' }, { kv: 'ok' }] as const) {
        await edge.control({ d1: 'down', kv: 'down', cold: true });
        const response = await send(edge.port, { target: 'http://a.example/' });
        expect(response.status).toBe(503);
        const line = await edge.log.line(valueIn(response, 'x-request-id') ?? 'no id');
        expect(JSON.parse(line).reason).toBe('SnapshotUnavailable');
        await edge.control(back);
        expect(await ask()).toBe('old');
      }
    });

    it('answers 503 while its shard cannot be read, and serves once it can', async () => {
      const { shards } = await edge.publish(to(old.port), { spoil: withoutShards });
      expect(shards.size).toBe(0);
      expect(await ask()).toBe('503');
      await edge.publish(to(old.port));
      expect(await ask()).toBe('old');
    });

    it('serves many requests at once', async () => {
      await edge.publish(to(old.port));
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask()));
      expect(new Set(answers)).toEqual(new Set(['old']));
    });
  });

  describe('keeps the good version when the new one', () => {
    const spoilt: readonly (readonly [
      string,
      (it: EncodedSnapshot) => EncodedSnapshot | Promise<EncodedSnapshot>,
    ])[] = [
      ['has no shards', withoutShards],
      ['has a shard of other bytes', (it) => withShards(it, (bytes) => flipped(bytes))],
      ['has a shard that is cut off', (it) => withShards(it, (bytes) => bytes.slice(0, -1))],
      ['has an empty shard', (it) => withShards(it, () => new Uint8Array())],
      ['has a manifest of another hash', (it) => ({ ...it, manifest: `${it.manifest} ` })],
      ['has a manifest that is no JSON', (it) => renamed({ ...it, manifest: '{' })],
      ['has a manifest of nothing', (it) => renamed({ ...it, manifest: 'null' })],
      ['has a manifest without shards', (it) => withManifest(it, { shards: [] })],
      ['has a manifest of three shards', (it) => withManifest(it, { shards: ['a', 'b', 'c'] })],
      ['has a manifest of a later format', (it) => withManifest(it, { formatVersion: 2 })],
      ['names a version that is no hash', (it) => ({ ...it, version: '../../x' })],
      ['has a shard that is no JSON', (it) => withContent(it, 'routes')],
      ['has a shard of null', (it) => withContent(it, 'null')],
      ['has a shard without upstreams', (it) => withContent(it, '{"virtualHosts":[]}')],
      [
        'has a shard of broken hosts',
        (it) => withContent(it, '{"virtualHosts":[null],"upstreams":[]}'),
      ],
      [
        'has a shard of hosts without routes',
        (it) => withContent(it, '{"virtualHosts":[{"hostname":"a.example"}],"upstreams":[]}'),
      ],
    ];

    it.each(spoilt)('%s', async (_, spoil) => {
      await edge.publish(to(old.port));
      expect(await ask()).toBe('old');
      const wrong = await spoil(await encodeSnapshot(to(young.port)));
      await edge.publish(to(young.port), { spoil: () => wrong });
      const { version, refreshError } = await edge.refresh();
      expect(refreshError).toMatch(/Error/);
      expect(version).not.toBe(wrong.version);
      expect(await ask()).toBe('old');
      // A cold one has nothing better, but says so and does not guess.
      await edge.control({ cold: true });
      expect(await ask()).toBe('503');
    });
  });
});

function withoutShards(encoded: EncodedSnapshot): EncodedSnapshot {
  return { ...encoded, shards: new Map() };
}

function withShards(
  encoded: EncodedSnapshot,
  change: (bytes: Uint8Array) => Uint8Array,
): EncodedSnapshot {
  const shards = [...encoded.shards].map(([hash, bytes]) => [hash, change(bytes)] as const);
  return { ...encoded, shards: new Map(shards) };
}

function flipped(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, index) => (index === 20 ? byte ^ 1 : byte));
}

async function renamed(encoded: EncodedSnapshot): Promise<EncodedSnapshot> {
  return { ...encoded, version: await sha256(Buffer.from(encoded.manifest)) };
}

function withManifest(encoded: EncodedSnapshot, change: object): Promise<EncodedSnapshot> {
  const manifest = JSON.stringify({ ...JSON.parse(encoded.manifest), ...change });
  return renamed({ ...encoded, manifest });
}

/** All its hosts in a shard of this text, under its right hash. */
async function withContent(encoded: EncodedSnapshot, text: string): Promise<EncodedSnapshot> {
  const bytes = Buffer.from(text);
  const hash: Sha256 = await sha256(bytes);
  expect(shardKey(hash)).toContain(hash);
  const shards = new Map([...encoded.shards, [hash, bytes] as const]);
  return withManifest({ ...encoded, shards }, { shards: [hash], catchAllShard: hash });
}
