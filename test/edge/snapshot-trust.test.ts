import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type EncodedSnapshot, encodeSnapshot } from '../../snapshot/codec.ts';
import { shardIndex, shardKey } from '../../snapshot/keys.ts';
import {
  generateKeyPair,
  importPrivateKey,
  type SignatureKey,
  signVersion,
} from '../../snapshot/signature.ts';
import type { Hostname, Sha256, Snapshot } from '../../snapshot/types.ts';
import { CLUSTER, FaultyEdge } from '../support/faulty-edge.ts';
import { send } from '../support/rig.ts';
import { type Backend, snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

const HOST_COUNT = 24;
const ROUTES_PER_HOST = 60;

describe('the edge with a public key', () => {
  let edge: FaultyEdge;
  let old: Upstream;
  let young: Upstream;
  let key: SignatureKey;

  beforeAll(async () => {
    const pair = await generateKeyPair();
    key = await importPrivateKey(pair.privateKey);
    old = await Upstream.start(answering(ok('old')));
    young = await Upstream.start(answering(ok('young')));
    edge = await FaultyEdge.start(pair.publicKey);
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

  describe('serves what is signed, and', () => {
    const forgeries: readonly (readonly [string, (version: Sha256) => string | Promise<string>])[] =
      [
        ['not what is unsigned', () => ''],
        [
          'not what is signed by another key',
          async (version) => sign(await otherKey(), CLUSTER, version),
        ],
        ['not what is signed for another cluster', (version) => sign(key, 'other', version)],
        ['not what is signed for another version', () => sign(key, CLUSTER, '0'.repeat(64))],
        [
          'not a signature that is cut off',
          async (version) => (await sign(key, CLUSTER, version)).slice(4),
        ],
        ['not what is no signature at all', () => '%%% not base64 %%%'],
      ];

    it.each(forgeries)('%s', async (_, forge) => {
      await edge.publish(to(old.port), { signingKey: key });
      expect(await ask()).toBe('old');
      const { version } = await encodeSnapshot(to(young.port));
      await edge.publish(to(young.port), { signature: await forge(version) });
      expect((await edge.refresh()).refreshError).toMatch(/signature/);
      expect(await ask()).toBe('old');
      await edge.control({ cold: true });
      expect(await ask()).toBe('503');
      await edge.publish(to(young.port), { signingKey: key });
      expect(await ask()).toBe('young');
    });

    it('takes a signed mirror for an unsigned pointer', async () => {
      await edge.publish(to(young.port), { mirror: false });
      await edge.publish(to(old.port), { d1: false, signingKey: key });
      expect(await ask()).toBe('old');
    });

    it('no mirror that is unsigned or garbage', async () => {
      await edge.control({ d1: 'down', cold: true });
      await edge.publish(to(old.port));
      expect(await ask()).toBe('503');
      for (const text of ['', '{', 'null', '[]', '{"cluster":1}']) {
        await edge.kv.put('causeway/1/pointer/test', text);
        expect(await ask()).toBe('503');
      }
      await edge.publish(to(old.port), { signingKey: key });
      expect(await ask()).toBe('old');
    });
  });

  describe('with many shards', () => {
    const hosts = Array.from({ length: HOST_COUNT }, (_, index) => `www.d${index}.example`);
    let oldVersion: EncodedSnapshot;
    let youngVersion: EncodedSnapshot;
    let shardCount: number;

    beforeEach(async () => {
      youngVersion = await encodeSnapshot(large(young.port));
      oldVersion = await edge.publish(large(old.port), { signingKey: key });
      shardCount = shardsOf(oldVersion).length;
      expect(shardCount).toBeGreaterThanOrEqual(4);
      expect(shardsOf(youngVersion)).toHaveLength(shardCount);
    });

    function large(backend: number): Snapshot {
      const paths = Array.from({ length: ROUTES_PER_HOST }, (_, i) => [`/path-${i}`, backend]);
      const routes = Object.fromEntries([...paths, ['/', backend]]);
      const own = hosts.map((host) => [host, routes] as const);
      return snapshotOf({
        ...Object.fromEntries(own),
        '*.d0.example': { '/': backend },
        '*': { '/': backend },
      });
    }

    const shardsOf = ({ manifest }: EncodedSnapshot): readonly Sha256[] =>
      JSON.parse(manifest).shards;
    const indexOf = (host: Hostname) => shardIndex(host, shardCount) ?? -1;

    /** Takes the shard of a host out of an encoded snapshot, so that it is never written. */
    function without(encoded: EncodedSnapshot, hash: Sha256 | undefined): EncodedSnapshot {
      return { ...encoded, shards: new Map([...encoded.shards].filter(([name]) => name !== hash)) };
    }

    it('reads each that it needs once', async () => {
      await edge.control();
      for (const host of hosts) expect(await ask(host)).toBe('old');
      const indices = new Set(hosts.map(indexOf));
      expect((await edge.control()).kvReads).toBe(indices.size);
      for (const host of hosts) expect(await ask(host)).toBe('old');
      expect((await edge.control()).kvReads).toBe(0);
    });

    it('finds a wildcard where its siblings are, and other hosts in the catch-all shard', async () => {
      expect(await ask('www.d0.example')).toBe('old');
      await edge.control();
      expect(await ask('other.d0.example')).toBe('old');
      expect((await edge.control()).kvReads).toBe(0);
      expect(await ask('nobody.example')).toBe('old');
      expect(await ask('nobody.example')).toBe('old');
      expect((await edge.control()).kvReads).toBeLessThanOrEqual(2);
    });

    it('does not change over while one that is in use cannot be read', async () => {
      const [host = '', ...others] = hosts;
      expect(await ask(host)).toBe('old');
      const missing = shardsOf(youngVersion)[indexOf(host)];
      const spoil = (it: EncodedSnapshot) => without(it, missing);
      await edge.publish(large(young.port), { signingKey: key, spoil });
      expect(await edge.refresh()).toMatchObject({ version: oldVersion.version });
      for (const each of [host, ...others.slice(0, 5)]) expect(await ask(each)).toBe('old');
      // Late, as from a slow KV: now all of it is there.
      await edge.kv.put(
        shardKey(missing ?? ''),
        Buffer.from(youngVersion.shards.get(missing ?? '') ?? []),
      );
      expect(await edge.refresh()).toMatchObject({ version: youngVersion.version });
      expect(await ask(host)).toBe('young');
    });

    it('serves a host from the version before when its own shard cannot be read', async () => {
      const [host = ''] = hosts;
      const cold = hosts.find((other) => indexOf(other) !== indexOf(host)) ?? '';
      expect(await ask(host)).toBe('old');
      const missing = shardsOf(youngVersion)[indexOf(cold)];
      const spoil = (it: EncodedSnapshot) => without(it, missing);
      await edge.publish(large(young.port), { signingKey: key, spoil });
      expect(await edge.refresh()).toMatchObject({ version: youngVersion.version });
      expect(await ask(host)).toBe('young');
      expect(await ask(cold)).toBe('old');
      await edge.kv.put(
        shardKey(missing ?? ''),
        Buffer.from(youngVersion.shards.get(missing ?? '') ?? []),
      );
      expect(await ask(cold)).toBe('young');
    });

    it('serves unknown hosts from the version before when the catch-all shard cannot be read', async () => {
      const { catchAllShard } = JSON.parse(youngVersion.manifest);
      const spoil = (it: EncodedSnapshot) => without(it, catchAllShard);
      expect(await ask('www.d0.example')).toBe('old');
      await edge.publish(large(young.port), { signingKey: key, spoil });
      await edge.refresh();
      expect(await ask('www.d0.example')).toBe('young');
      expect(await ask('nobody.example')).toBe('old');
    });
  });
});

const sign = signVersion;

async function otherKey(): Promise<SignatureKey> {
  return importPrivateKey((await generateKeyPair()).privateKey);
}
