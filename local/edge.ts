import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import { bundleWorker } from './bundle.ts';
import { applyMigrations } from './migrations.ts';
import { PRODUCTION_NETWORK } from './production-network.ts';

/** workerd with the worker of production, its KV and D1, and a Cloudflare API in front of both. */
export interface Edge {
  /** Speaks HTTP/1.1 with absolute-form targets; see front.ts. */
  readonly worker: { readonly host: string; readonly port: number };
  readonly api: {
    readonly baseUrl: string;
    readonly token: string;
    readonly accountId: string;
    readonly namespaceId: string;
    readonly databaseId: string;
  };
  readonly admin: { readonly host: string; readonly token: string };
  stop(): Promise<void>;
}

export interface EdgeOptions {
  /** Where KV and D1 are kept; null for memory only. */
  readonly persist: string | null;
  readonly cluster: string;
  readonly publicKey: string | null;
  readonly productionRules: boolean;
  readonly adminHost: string;
  readonly adminToken: string | null;
  /** Where the https side of it is, which redirects name; the worker's default without. */
  readonly httpsPort?: number;
  /** How long upstreams may take to answer; the worker's default without. */
  readonly responseTimeoutMs?: number;
  /** Lines that the worker logs. */
  readonly onLog: (line: string) => void;
}

const COMPATIBILITY_DATE = '2026-11-01';
/** As in wrangler.toml. */
const COMPATIBILITY_FLAGS = ['enable_request_signal'];
const ACCOUNT_ID = 'local';
const NAMESPACE_ID = 'causeway-kv';
const DATABASE_ID = 'causeway-d1';

/** What both workers have. */
const STORAGE = {
  kvNamespaces: { KV: NAMESPACE_ID },
  d1Databases: { DB: DATABASE_ID },
  modules: true,
  compatibilityDate: COMPATIBILITY_DATE,
  compatibilityFlags: COMPATIBILITY_FLAGS,
} as const;

export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const entry = options.productionRules ? 'workers/production-rules.ts' : 'workers/edge.ts';
  const [script, apiScript] = await Promise.all([
    bundleWorker(pathOf(entry)),
    bundleWorker(pathOf('workers/cloudflare-api.ts')),
  ]);
  const apiToken = randomBytes(24).toString('hex');
  const adminToken = options.adminToken ?? randomBytes(24).toString('hex');
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: '127.0.0.1',
      port: 0,
      log: new Log(LogLevel.ERROR),
      handleStructuredLogs: ({ message }) => options.onLog(message),
      ...(options.persist !== null && { resourcePersistencePath: options.persist }),
      workers: [
        gatewayWorker(script, adminToken, options),
        {
          ...STORAGE,
          name: 'cloudflare-api',
          script: apiScript,
          // Not the gateway's: zones and certificates, which production has elsewhere too.
          kvNamespaces: { ...STORAGE.kvNamespaces, ACCOUNT: 'cloudflare-account' },
          unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
          bindings: { API_TOKEN: apiToken, ACCOUNT_ID, NAMESPACE_ID, DATABASE_ID },
        },
      ],
    }),
  );
  await miniflare.ready;
  await applyMigrations(await miniflare.getD1Database('DB', 'edge'), pathOf('../migrations'));
  const worker = await miniflare.unsafeGetDirectURL('edge');
  const api = await miniflare.unsafeGetDirectURL('cloudflare-api');
  return {
    worker: { host: worker.hostname, port: Number(worker.port) },
    api: {
      baseUrl: `${api.origin}/client/v4`,
      token: apiToken,
      accountId: ACCOUNT_ID,
      namespaceId: NAMESPACE_ID,
      databaseId: DATABASE_ID,
    },
    admin: { host: options.adminHost, token: adminToken },
    stop: () => miniflare.dispose(),
  };
}

function gatewayWorker(script: string, adminToken: string, options: EdgeOptions) {
  return {
    ...STORAGE,
    name: 'edge',
    script,
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0, proxy: true }],
    bindings: {
      CLUSTER: options.cluster,
      REFRESH_SECONDS: '1',
      TELLS_SERVER_NAME: 'true',
      ADDRESS_POLICY: options.productionRules ? 'production' : 'local',
      ADMIN_HOST: options.adminHost,
      ADMIN_TOKEN: adminToken,
      ...(options.httpsPort !== undefined && { HTTPS_PORT: String(options.httpsPort) }),
      ...(options.publicKey !== null && { MANIFEST_PUBLIC_KEY: options.publicKey }),
      ...(options.responseTimeoutMs !== undefined && {
        RESPONSE_TIMEOUT_MS: String(options.responseTimeoutMs),
      }),
    },
    ...(options.productionRules && { serviceBindings: { NETWORK: PRODUCTION_NETWORK } }),
  };
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}
