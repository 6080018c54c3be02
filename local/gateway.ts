import { request } from 'node:http';
import { SYSTEM_CLOCK } from '../syncer/clock.ts';
import { CloudflareApi } from '../syncer/cloudflare/api.ts';
import { D1Database } from '../syncer/cloudflare/d1-database.ts';
import { KvStore } from '../syncer/cloudflare/kv-store.ts';
import type { CompileOptions } from '../syncer/compile/options.ts';
import { type Compilation, compile } from '../syncer/compile.ts';
import type { Logger } from '../syncer/log.ts';
import { ReconcileLoop } from '../syncer/loop.ts';
import { Publisher } from '../syncer/publish.ts';
import { SecretText } from '../syncer/secret-text.ts';
import type { StateSource } from '../syncer/source.ts';
import { EchoServers } from './echo.ts';
import { type Edge, startEdge } from './edge.ts';
import { type Front, startFront } from './front.ts';
import type { SigningKeys } from './signing-keys.ts';

export interface GatewayOptions {
  readonly source: StateSource;
  readonly compile: CompileOptions;
  readonly listen: { readonly host: string; readonly port: number };
  readonly persist: string | null;
  readonly keys: SigningKeys | null;
  readonly productionRules: boolean;
  readonly adminToken: string | null;
  readonly echo: boolean;
  readonly log: Logger;
  readonly onWorkerLog: (text: string) => void;
  /** After each run, once the edge serves what it published. */
  readonly onServed: (served: Served) => void;
}

export interface Served {
  readonly version: string;
  readonly compilation: Compilation;
}

/** The embedded gateway: the production syncer and the production worker on one machine. */
export interface Gateway {
  readonly url: string;
  readonly edge: Edge;
  stop(): Promise<void>;
}

export const CLUSTER = 'local';
export const ADMIN_HOST = 'admin.localhost';

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { source, log } = options;
  const edge = await startEdge({
    persist: options.persist,
    cluster: CLUSTER,
    publicKey: options.keys?.publicKey ?? null,
    productionRules: options.productionRules,
    adminHost: ADMIN_HOST,
    adminToken: options.adminToken,
    onLog: options.onWorkerLog,
  });
  let front: Front | null = null;
  const echo = new EchoServers((message) => log.warn({}, message));
  try {
    front = await startFront(edge.worker, options.listen);
    const abort = new AbortController();
    const publisher = await startPublisher(edge, options, abort.signal);
    const loop = new ReconcileLoop({
      source,
      log,
      clock: SYSTEM_CLOCK,
      random: Math.random,
      run: () => run(publisher, edge, echo, options),
    });
    await loop.start();
    const { host } = options.listen;
    return {
      url: `http://${host.includes(':') ? `[${host}]` : host}:${front.port}`,
      edge,
      stop: async () => {
        abort.abort();
        await loop.stop();
        await front?.close();
        await echo.stop();
        await edge.stop();
      },
    };
  } catch (error) {
    await source.stop();
    await front?.close();
    await edge.stop();
    throw error;
  }
}

async function startPublisher(
  { api: local }: Edge,
  { keys, log }: GatewayOptions,
  signal: AbortSignal,
): Promise<Publisher> {
  const api = new CloudflareApi({
    baseUrl: local.baseUrl,
    accountId: local.accountId,
    token: new SecretText(local.token),
    clock: SYSTEM_CLOCK,
    random: Math.random,
    signal,
  });
  const publisher = new Publisher({
    kv: new KvStore(api, local.namespaceId),
    d1: new D1Database(api, local.databaseId),
    cluster: CLUSTER,
    publishedBy: `causeway dev, process ${process.pid}`,
    signingKey: keys?.privateKey ?? null,
    now: Date.now,
    log,
  });
  await publisher.claim();
  return publisher;
}

async function run(
  publisher: Publisher,
  edge: Edge,
  echo: EchoServers,
  options: GatewayOptions,
): Promise<void> {
  const compilation = compile(options.source.state(), options.compile);
  if (options.echo) await echo.follow(compilation.snapshot.upstreams);
  const { version } = await publisher.publish(compilation.snapshot, compilation.problems);
  await waitUntilServed(edge, version);
  options.onServed({ version, compilation });
}

const SERVED_ATTEMPTS_MAX = 50;

/** The version endpoint looks at the pointer before it answers, so one question is mostly enough. */
async function waitUntilServed(edge: Edge, version: string): Promise<void> {
  let answer = '';
  for (let attempt = 0; attempt < SERVED_ATTEMPTS_MAX; attempt++) {
    answer = await askAdmin(edge, '/api/version');
    if ((JSON.parse(answer) as { version: unknown }).version === version) return;
  }
  throw new Error(`the edge does not serve version ${version}: ${answer}`);
}

/** The body of an answer of the admin API. */
export function askAdmin({ worker, admin }: Edge, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { host: admin.host, authorization: `Bearer ${admin.token}` };
    const options = { ...worker, path: `http://${admin.host}${path}`, headers, agent: false };
    request(options, async (response) => {
      let body = '';
      try {
        for await (const chunk of response.setEncoding('utf8')) body += chunk;
        resolve(body);
      } catch (error) {
        reject(error);
      }
    })
      .on('error', reject)
      .end();
  });
}
