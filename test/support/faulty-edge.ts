import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { bundleWorker } from '../../local/bundle.ts';
import { applyMigrations } from '../../local/migrations.ts';
import { type EncodedSnapshot, encodeSnapshot } from '../../snapshot/codec.ts';
import { pointerKey, shardKey } from '../../snapshot/keys.ts';
import { encodePointer } from '../../snapshot/pointer.ts';
import { type SignatureKey, signVersion } from '../../snapshot/signature.ts';
import type { Snapshot } from '../../snapshot/types.ts';
import { WorkerLog } from './rig.ts';

export const CLUSTER = 'test';
export const ADMIN = { host: 'admin.test', token: 'test-token' };

export type Condition = 'ok' | 'down' | 'silent';

/** What a publication leaves out or spoils, and where it goes. */
export interface PublishOptions {
  /** Changes what is to be written. */
  readonly spoil?: (encoded: EncodedSnapshot) => EncodedSnapshot;
  readonly signature?: string;
  readonly signingKey?: SignatureKey;
  /** Whether D1's pointer moves there; the default is yes. */
  readonly d1?: boolean;
  /** Whether the mirror in KV does; the default is yes. */
  readonly mirror?: boolean;
}

/** The worker in workerd on KV and D1 that the test writes itself and lets fail. */
export class FaultyEdge implements AsyncDisposable {
  readonly port: number;
  readonly log: WorkerLog;
  readonly kv: Awaited<ReturnType<Miniflare['getKVNamespace']>>;
  readonly #miniflare: Miniflare;
  readonly #db: Awaited<ReturnType<Miniflare['getD1Database']>>;

  static async start(publicKey = '', adminToken = ADMIN.token): Promise<FaultyEdge> {
    const log = new WorkerLog();
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        host: '127.0.0.1',
        port: 0,
        handleStructuredLogs: ({ message }) => log.add(message),
        workers: [
          {
            name: 'edge',
            modules: true,
            script: await bundleWorker(fileURLToPath(new URL('faulty-worker.js', import.meta.url))),
            compatibilityDate: '2026-11-01',
            compatibilityFlags: ['enable_request_signal'],
            kvNamespaces: { KV: 'kv' },
            d1Databases: { DB: 'd1' },
            unsafeDirectSockets: [{ host: '127.0.0.1', port: 0, proxy: true }],
            bindings: {
              CLUSTER,
              ADDRESS_POLICY: 'local',
              ADMIN_HOST: ADMIN.host,
              ADMIN_TOKEN: adminToken,
              MANIFEST_PUBLIC_KEY: publicKey,
            },
          },
        ],
      }),
    );
    await miniflare.ready;
    const db = await miniflare.getD1Database('DB', 'edge');
    await applyMigrations(db, fileURLToPath(new URL('../../migrations', import.meta.url)));
    const { port } = await miniflare.unsafeGetDirectURL('edge');
    const kv = await miniflare.getKVNamespace('KV', 'edge');
    return new FaultyEdge(miniflare, Number(port), log, kv, db);
  }

  private constructor(
    miniflare: Miniflare,
    port: number,
    log: WorkerLog,
    kv: FaultyEdge['kv'],
    db: Awaited<ReturnType<Miniflare['getD1Database']>>,
  ) {
    this.#miniflare = miniflare;
    this.port = port;
    this.log = log;
    this.kv = kv;
    this.#db = db;
  }

  /** Writes bodies, publication and pointers past the publisher, so that they can be wrong. */
  async publish(snapshot: Snapshot, options: PublishOptions = {}): Promise<EncodedSnapshot> {
    const { spoil = (it: EncodedSnapshot) => it, d1 = true, mirror = true } = options;
    const encoded = spoil(await encodeSnapshot(snapshot));
    const { version, manifest, shards } = encoded;
    await Promise.all(
      [...shards].map(([hash, bytes]) => this.kv.put(shardKey(hash), Buffer.from(bytes))),
    );
    const { signingKey } = options;
    const signed = signingKey ? await signVersion(signingKey, CLUSTER, version) : '';
    const signature = options.signature ?? signed;
    if (d1) await this.#move(version, manifest, signature);
    const record = { cluster: CLUSTER, version, manifest, signature };
    if (mirror) await this.kv.put(pointerKey(CLUSTER), encodePointer(record));
    return encoded;
  }

  async #move(version: string, manifest: string, signature: string): Promise<void> {
    const row = this.#db.prepare(
      `INSERT INTO publications (cluster, version, manifest, signature, published_at_ms,
         published_by, fencing_token, virtual_hosts, routes, upstreams, endpoints, problems,
         size_bytes, changes)
       VALUES (?, ?, ?, ?, 0, 'test', 1, 0, 0, 0, 0, 0, 0, '{}')`,
    );
    const pointer = this.#db.prepare(
      `INSERT OR REPLACE INTO pointers (cluster, version, fencing_token, pinned, moved_at_ms)
       VALUES (?, ?, 1, 0, 0)`,
    );
    await this.#db.batch([
      row.bind(CLUSTER, version, manifest, signature),
      pointer.bind(CLUSTER, version),
    ]);
  }

  /** As a D1 database that was made anew. */
  async deletePublications(): Promise<void> {
    const tables = ['publications', 'pointers'];
    await this.#db.batch(tables.map((it) => this.#db.prepare(`DELETE FROM ${it}`)));
  }

  /** Nothing was ever published. */
  async clear(): Promise<void> {
    await this.deletePublications();
    const { keys } = await this.kv.list();
    await Promise.all(keys.map(({ name }) => this.kv.delete(name)));
    await this.control({ kv: 'ok', d1: 'ok', cold: true });
  }

  /** Says how bindings behave from now on, and tells how often they were asked since the last call. */
  async control(change: { kv?: Condition; d1?: Condition; cold?: boolean } = {}) {
    const body = JSON.stringify(change);
    const response = await this.#fetch('http://control.test/', { method: 'POST', body });
    return (await response.json()) as { readonly kvReads: number; readonly d1Reads: number };
  }

  /** Has the isolate look at the pointer; resolves with the version that it serves then. */
  async refresh(): Promise<{
    readonly version: string | null;
    readonly refreshError: string | null;
  }> {
    const headers = { authorization: `Bearer ${ADMIN.token}` };
    const response = await this.#fetch(`http://${ADMIN.host}/api/version`, { headers });
    return (await response.json()) as Awaited<ReturnType<FaultyEdge['refresh']>>;
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    const worker = await this.#miniflare.getWorker('edge');
    return (await worker.fetch(url, init as never)) as unknown as Response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#miniflare.dispose();
  }
}
