import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { bundleWorker } from '../../local/bundle.ts';
import { applyMigrations } from '../../local/migrations.ts';
import { PRODUCTION_NETWORK } from '../../local/production-network.ts';
import { encodeSnapshot } from '../../snapshot/codec.ts';
import { shardKey } from '../../snapshot/keys.ts';
import type { Snapshot } from '../../snapshot/types.ts';

/** Public, and never asked: worker.js takes its connections to the test's own server. */
export const PUBLIC_ADDRESS = '8.8.8.8';

/** Two workers with one KV and D1: worker.js by the rules, and the gateway without them. */
export interface Edge {
  /** Runs a procedure of worker.js. */
  call(procedure: string, parameters: Readonly<Record<string, string | number>>): Promise<unknown>;
  status(worker: 'rules' | 'plain', host: string): Promise<number>;
  publish(snapshot: Snapshot): Promise<void>;
  stop(): Promise<void>;
}

export async function startEdge(upstreamPort: number): Promise<Edge> {
  const [script, plainScript] = await Promise.all([
    bundleWorker(pathOf('worker.js')),
    bundleWorker(pathOf('../../worker/index.ts')),
  ]);
  const shared = {
    modules: true,
    compatibilityDate: '2026-11-01',
    kvNamespaces: { KV: 'kv' },
    d1Databases: { DB: 'd1' },
    // So that the dialer lets pass what the rules are to refuse.
    bindings: { ADDRESS_POLICY: 'local', PUBLIC_ADDRESS, UPSTREAM_PORT: upstreamPort },
    serviceBindings: { NETWORK: PRODUCTION_NETWORK },
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      // Refusals are logged, and here they are what is wanted.
      handleStructuredLogs: () => {},
      workers: [
        { ...shared, name: 'rules', script },
        { ...shared, name: 'plain', script: plainScript },
      ],
    }),
  );
  const database = await miniflare.getD1Database('DB', 'rules');
  await applyMigrations(database, pathOf('../../migrations'));
  return {
    async call(procedure, parameters) {
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(parameters)) query.set(name, String(value));
      const worker = await miniflare.getWorker('rules');
      const response = await worker.fetch(`http://procedures/${procedure}?${query}`);
      return response.json();
    },
    async status(name, host) {
      const worker = await miniflare.getWorker(name);
      const response = await worker.fetch(`http://${host}/`);
      await response.text();
      return response.status;
    },
    async publish(snapshot) {
      const { version, manifest, shards } = await encodeSnapshot(snapshot);
      const kv = await miniflare.getKVNamespace('KV', 'rules');
      for (const [hash, bytes] of shards) await kv.put(shardKey(hash), bytes);
      await database.batch([
        database
          .prepare(
            `insert into publications (cluster, version, manifest, signature, published_at_ms,
              published_by, fencing_token, virtual_hosts, routes, upstreams, endpoints, problems,
              size_bytes, changes) values ('default', ?, ?, '', 0, '', 1, 0, 0, 0, 0, 0, 0, '')`,
          )
          .bind(version, manifest),
        database.prepare("insert into pointers values ('default', ?, 1, 0, 0)").bind(version),
      ]);
    },
    stop: () => miniflare.dispose(),
  };
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}
