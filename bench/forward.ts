/**
 * The worker beside a bare pass-through with the same socket code, in one workerd, in alternating
 * rounds: the ratio says what matching, balancing, headers and snapshots cost a request.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import { bundleWorker } from '../local/bundle.ts';
import { applyMigrations } from '../local/migrations.ts';
import { encodeSnapshot } from '../snapshot/codec.ts';
import { shardKey } from '../snapshot/keys.ts';
import type { Snapshot } from '../snapshot/types.ts';
import { requestsPerSecond } from './load.ts';

const HOSTS = Number(process.env.HOSTS ?? 1000);
const ROUNDS = 7;
const REQUESTS = 6_000;
const CONNECTIONS = 32;
const COMPATIBILITY_DATE = '2026-11-01';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const upstream = fork(path('./upstream.ts'));
const [upstreamPort] = (await once(upstream, 'message')) as [number];
const common = {
  modules: true as const,
  compatibilityDate: COMPATIBILITY_DATE,
  // As in wrangler.toml.
  compatibilityFlags: ['enable_request_signal'],
};
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    host: '127.0.0.1',
    port: 0,
    log: new Log(LogLevel.ERROR),
    workers: [
      {
        ...common,
        name: 'edge',
        script: await bundleWorker(path('../worker/index.ts')),
        kvNamespaces: { KV: 'kv' },
        d1Databases: { DB: 'd1' },
        bindings: { CLUSTER: 'bench', ADDRESS_POLICY: 'local' },
        unsafeDirectSockets: [{ host: '127.0.0.1', port: 0, proxy: true }],
      },
      {
        ...common,
        name: 'pass-through',
        script: await bundleWorker(path('./workers/pass-through.ts')),
        bindings: { PORT: String(upstreamPort) },
        unsafeDirectSockets: [{ host: '127.0.0.1', port: 0, proxy: true }],
      },
    ],
  }),
);

/** `HOSTS` virtual hosts of ten paths each, all leading to the one upstream. */
function snapshot(): Snapshot {
  const source = { kind: 'Ingress', namespace: 'bench', name: 'bench' };
  const name = 'bench/web/80';
  const hosts = Array.from(
    { length: HOSTS },
    (_, i) => `host-${String(i).padStart(6, '0')}.tenant-${i % 97}.example.com`,
  );
  return {
    virtualHosts: hosts.sort().map((hostname) => ({
      hostname,
      owner: 'bench',
      routes: Array.from({ length: 10 }, (_, i) => ({
        match: { type: 'Prefix', path: `/path-${i}` } as const,
        upstream: name,
        source,
      })),
    })),
    upstreams: [{ name, dialer: 'socket', endpoints: [{ host: '127.0.0.1', port: upstreamPort }] }],
  };
}

async function publish(): Promise<string> {
  const kv = await miniflare.getKVNamespace('KV', 'edge');
  const db = await miniflare.getD1Database('DB', 'edge');
  await applyMigrations(db, path('../migrations'));
  const encoded = await encodeSnapshot(snapshot());
  for (const [hash, bytes] of encoded.shards) await kv.put(shardKey(hash), bytes);
  await db
    .prepare(
      "INSERT INTO publications (cluster, version, manifest, signature, published_at_ms, published_by, fencing_token, virtual_hosts, routes, upstreams, endpoints, problems, size_bytes, changes) VALUES ('bench', ?1, ?2, '', 0, 'bench', 1, 0, 0, 0, 0, 0, 0, '{}')",
    )
    .bind(encoded.version, encoded.manifest)
    .run();
  await db
    .prepare(
      "INSERT INTO pointers (cluster, version, fencing_token, pinned, moved_at_ms) VALUES ('bench', ?1, 1, 0, 0)",
    )
    .bind(encoded.version)
    .run();
  return `${encoded.shards.size} shards`;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

try {
  const shards = await publish();
  const measure = async (worker: string, requests: number) =>
    requestsPerSecond({
      url: await miniflare.unsafeGetDirectURL(worker),
      target: `http://host-000042.tenant-42.example.com/path-7/x`,
      connections: CONNECTIONS,
      requests,
    });
  const rates = { edge: [] as number[], 'pass-through': [] as number[] };
  for (const worker of ['edge', 'pass-through'] as const) await measure(worker, REQUESTS);
  for (let round = 0; round < ROUNDS; round++) {
    // The order turns round by round, so that neither always comes second.
    const order =
      round % 2 === 0 ? (['edge', 'pass-through'] as const) : (['pass-through', 'edge'] as const);
    for (const worker of order) rates[worker].push(await measure(worker, REQUESTS));
  }
  const edge = median(rates.edge);
  const bare = median(rates['pass-through']);
  console.log(
    `${HOSTS} hosts, ${HOSTS * 10} routes, ${shards}; ${CONNECTIONS} connections, median of ${ROUNDS} rounds`,
  );
  console.log(
    `worker ${edge.toFixed(0)} requests/s, pass-through ${bare.toFixed(0)} requests/s, ratio ${(edge / bare).toFixed(3)}`,
  );
} finally {
  upstream.kill();
  await miniflare.dispose();
}
