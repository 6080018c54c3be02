import { hostname } from 'node:os';
import { pino } from 'pino';
import { importPrivateKey } from '../snapshot/signature.ts';
import { SYSTEM_CLOCK } from './clock.ts';
import { CloudflareApi } from './cloudflare/api.ts';
import { D1Database } from './cloudflare/d1-database.ts';
import { KvStore } from './cloudflare/kv-store.ts';
import { compile } from './compile.ts';
import { type Config, readConfig } from './config.ts';
import { ClusterSource } from './kubernetes/cluster-source.ts';
import { loadKubeConfig } from './kubernetes/kube-config.ts';
import type { Logger } from './log.ts';
import { ReconcileLoop } from './loop.ts';
import { Publisher } from './publish.ts';

/** The in-cluster syncer: watches, compiles and publishes until a signal ends it. */
export async function sync(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const config = readConfig(env);
  const log = pino({ base: { cluster: config.cluster } });
  const abort = new AbortController();
  const source = new ClusterSource({
    kubeConfig: loadKubeConfig(config.kubeconfig, env),
    logger: log,
  });
  const publisher = await publisherOf(config, log, abort.signal);
  await publisher.claim();
  const loop = new ReconcileLoop({
    source,
    log,
    clock: SYSTEM_CLOCK,
    random: Math.random,
    run: () => reconcile(source, publisher, config, log),
  });
  const stopped = new Promise<void>((resolve, reject) => {
    const stop = (signal: string) => {
      log.info({ signal }, 'stopping');
      loop
        .stop()
        .then(() => source.stop())
        .then(resolve, reject);
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
  });
  await loop.start();
  await stopped;
  abort.abort();
}

async function publisherOf(config: Config, log: Logger, signal: AbortSignal): Promise<Publisher> {
  const { cloudflare, cluster, signingKey } = config;
  const api = new CloudflareApi({
    ...cloudflare,
    clock: SYSTEM_CLOCK,
    random: Math.random,
    signal,
  });
  return new Publisher({
    kv: new KvStore(api, cloudflare.namespaceId),
    d1: new D1Database(api, cloudflare.databaseId),
    cluster,
    publishedBy: hostname(),
    signingKey: signingKey && (await importPrivateKey(signingKey.reveal())),
    now: Date.now,
    log,
  });
}

async function reconcile(
  source: ClusterSource,
  publisher: Publisher,
  config: Config,
  log: Logger,
): Promise<void> {
  const { snapshot, problems } = compile(source.state(), config.compile);
  const result = await publisher.publish(snapshot, problems);
  if (result.outcome === 'unchanged') return;
  const counts = {
    virtualHosts: snapshot.virtualHosts.length,
    upstreams: snapshot.upstreams.length,
    problems: problems.length,
  };
  log.info({ ...result, ...counts }, `publication ${result.outcome}`);
}
