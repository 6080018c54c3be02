import { convertV4MiniflareOptions, type Miniflare as Instance, Miniflare } from 'miniflare';
import { bundleWorker } from '../../../local/bundle.ts';
import { applyMigrations } from '../../../local/migrations.ts';
import type { Call, Fault } from '../../../local/workers/cloudflare-api/faults.ts';
import { CloudflareApi } from '../../../syncer/cloudflare/api.ts';
import { CallBudget } from '../../../syncer/cloudflare/budget.ts';
import { D1Database } from '../../../syncer/cloudflare/d1-database.ts';
import { KvStore } from '../../../syncer/cloudflare/kv-store.ts';
import type { Logger } from '../../../syncer/log.ts';
import { Publisher, type PublisherOptions } from '../../../syncer/publish.ts';
import { SecretText } from '../../../syncer/secret-text.ts';
import { LeapingClock } from './clocks.ts';

export const TOKEN = 'cf-token-that-must-not-be-seen';
export const START_MS = Date.UTC(2026, 10, 22);

const WORKER = 'cloudflare-api';
const IDS = { ACCOUNT_ID: 'account-1', NAMESPACE_ID: 'namespace-1', DATABASE_ID: 'database-1' };

/** The environment by which a syncer publishes to it. */
export function syncerSettings(origin: string): Record<string, string> {
  return {
    CLOUDFLARE_BASE_URL: `${origin}/client/v4`,
    CLOUDFLARE_API_TOKEN: TOKEN,
    CLOUDFLARE_ACCOUNT_ID: IDS.ACCOUNT_ID,
    CAUSEWAY_KV_NAMESPACE_ID: IDS.NAMESPACE_ID,
    CAUSEWAY_D1_DATABASE_ID: IDS.DATABASE_ID,
  };
}

export type Clients = ReturnType<LocalCloudflare['clients']>;

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly message: string;
}

/** workerd with KV, D1 and the local Cloudflare API with its faults. */
export class LocalCloudflare {
  readonly lines: LogLine[] = [];
  readonly log: Logger = {
    info: (fields, message) => this.lines.push({ level: 'info', fields, message }),
    warn: (fields, message) => this.lines.push({ level: 'warn', fields, message }),
    error: (fields, message) => this.lines.push({ level: 'error', fields, message }),
  };
  /** The time of day for publishers. */
  nowMs = START_MS;
  readonly kv: Awaited<ReturnType<Instance['getKVNamespace']>>;
  readonly db: Awaited<ReturnType<Instance['getD1Database']>>;
  readonly origin: string;
  readonly #miniflare: Instance;

  private constructor(
    miniflare: Instance,
    origin: string,
    kv: LocalCloudflare['kv'],
    db: LocalCloudflare['db'],
  ) {
    this.#miniflare = miniflare;
    this.origin = origin;
    this.kv = kv;
    this.db = db;
  }

  static async start(): Promise<LocalCloudflare> {
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        host: '127.0.0.1',
        port: 0,
        // Answers that break off on purpose are uncaught exceptions to workerd.
        handleStructuredLogs: () => {},
        workers: [
          {
            name: WORKER,
            modules: true,
            script: await bundleWorker('local/workers/cloudflare-api.ts'),
            compatibilityDate: '2026-11-01',
            kvNamespaces: { KV: 'kv', ACCOUNT: 'account' },
            d1Databases: { DB: 'db' },
            bindings: { ...IDS, API_TOKEN: TOKEN, FAULTS: '1' },
            unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
          },
        ],
      }),
    );
    const { origin } = await miniflare.unsafeGetDirectURL(WORKER);
    const db = await miniflare.getD1Database('DB', WORKER);
    await applyMigrations(db, 'migrations');
    const kv = await miniflare.getKVNamespace('KV', WORKER);
    return new LocalCloudflare(miniflare, origin, kv, db);
  }

  stop(): Promise<void> {
    return this.#miniflare.dispose();
  }

  /** As new: no rows, no keys, no faults, no log. */
  async reset(): Promise<void> {
    this.nowMs = START_MS;
    this.lines.length = 0;
    await this.clearFaults();
    const tables = ['pointers', 'publications', 'problems', 'certificates'];
    await this.db.batch(tables.map((table) => this.db.prepare(`DELETE FROM ${table}`)));
    for (const key of await this.keys()) await this.kv.delete(key);
  }

  /** The production clients, pointed here. */
  clients({ token = TOKEN, callsMax = 10_000, ...ids }: ClientOptions = {}) {
    const clock = new LeapingClock();
    const api = new CloudflareApi({
      baseUrl: `${this.origin}/client/v4`,
      accountId: ids.accountId ?? IDS.ACCOUNT_ID,
      token: new SecretText(token),
      clock,
      random: () => 0.5,
      signal: ids.signal ?? new AbortController().signal,
      budget: new CallBudget(clock, callsMax),
      ...(ids.permit && { permit: ids.permit }),
    });
    const kv = new KvStore(api, ids.namespaceId ?? IDS.NAMESPACE_ID);
    const d1 = new D1Database(api, ids.databaseId ?? IDS.DATABASE_ID);
    return { api, clock, kv, d1 };
  }

  publisher(options: Partial<PublisherOptions> = {}): Publisher {
    const { kv, d1 } = this.clients();
    return new Publisher({
      kv,
      d1,
      cluster: 'test',
      publishedBy: 'a test',
      signingKey: null,
      now: () => this.nowMs,
      log: this.log,
      ...options,
    });
  }

  async inject(...faults: readonly Fault[]): Promise<void> {
    await fetch(`${this.origin}/__faults`, { method: 'POST', body: JSON.stringify(faults) });
  }

  async clearFaults(): Promise<void> {
    await fetch(`${this.origin}/__faults`, { method: 'DELETE' });
  }

  /** The calls since the last {@link clearFaults}, for example `PUT bulk` or `POST raw`. */
  async calls(): Promise<readonly string[]> {
    const answer = await fetch(`${this.origin}/__calls`);
    const { result } = (await answer.json()) as { result: readonly Call[] };
    return result.map(({ method, path }) => {
      const parts = path.split('/');
      return `${method} ${parts.includes('values') ? 'value' : parts.at(-1)}`;
    });
  }

  async keys(prefix = ''): Promise<readonly string[]> {
    const names: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await this.kv.list({ prefix, ...(cursor && { cursor }) });
      names.push(...page.keys.map(({ name }) => name));
      if (page.list_complete) return names;
      cursor = page.cursor;
    }
  }

  /** All that the local API keeps beside KV and D1. */
  async account(): Promise<Readonly<Record<string, string | null>>> {
    const account = await this.#miniflare.getKVNamespace('ACCOUNT', WORKER);
    const { keys } = await account.list();
    const entries = keys.map(async ({ name }) => [name, await account.get(name, 'text')] as const);
    return Object.fromEntries(await Promise.all(entries));
  }

  async rows<T>(sql: string, ...params: readonly unknown[]): Promise<readonly T[]> {
    const { results } = await this.db
      .prepare(sql)
      .bind(...params)
      .all<T>();
    return results;
  }
}

interface ClientOptions {
  readonly token?: string;
  readonly accountId?: string;
  readonly namespaceId?: string;
  readonly databaseId?: string;
  readonly callsMax?: number;
  readonly signal?: AbortSignal;
  readonly permit?: () => void;
}
