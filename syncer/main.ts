import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { pino } from 'pino';
import { importPrivateKey, type SignatureKey } from '../snapshot/signature.ts';
import { certificateFollower } from './certificates/certificate-follower.ts';
import { CertificateLedger } from './certificates/certificate-ledger.ts';
import { EdgeTls } from './certificates/edge-tls.ts';
import { FoundProblems } from './certificates/found-problems.ts';
import { TlsApi } from './certificates/tls-api.ts';
import { SYSTEM_CLOCK } from './clock.ts';
import { CloudflareApi } from './cloudflare/api.ts';
import { type Budget, CALLS_MAX, CallBudget, CallShare } from './cloudflare/budget.ts';
import { D1Database } from './cloudflare/d1-database.ts';
import { CloudflareError } from './cloudflare/error.ts';
import { KvStore } from './cloudflare/kv-store.ts';
import { type Config, readConfig } from './config.ts';
import { Election } from './election.ts';
import { eventFollower } from './event-writer.ts';
import { type Follower, Followers } from './followers.ts';
import { Health } from './health.ts';
import { ApiClient } from './kubernetes/api-client.ts';
import { describeError } from './kubernetes/api-error.ts';
import { ClusterSource } from './kubernetes/cluster-source.ts';
import { loadKubeConfig } from './kubernetes/kube-config.ts';
import { Ledger } from './ledger.ts';
import type { Logger } from './log.ts';
import { ReconcileLoop } from './loop.ts';
import { Metrics } from './metrics.ts';
import { Probes } from './probes.ts';
import { Publisher } from './publish.ts';
import { Reconciler } from './reconciler.ts';
import { statusFollower } from './status-writer.ts';
import type { Term } from './term.ts';
import { watchScope } from './watch-scope.ts';

/** How long a publication under way at SIGTERM may take to its end; then it is abandoned. */
const FINISH_MS = 8_000;
/** How long that may take then. */
const ABANDON_MS = 3_000;
/** What certificates may take of the budget at most: routes must never wait for them. */
const CERTIFICATE_CALLS_MAX = CALLS_MAX / 2;
/** How long the start waits for Cloudflare. */
const CHECK_MS = 5_000;

/** The in-cluster syncer: watches, compiles and, while it leads, publishes until a signal ends it. */
export async function sync(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const signal = signalled();
  const config = readConfig(env);
  const log = pino({ base: { cluster: config.cluster } });
  const { signingKey } = config;
  const key = signingKey && (await importPrivateKey(signingKey.reveal()));
  const kubeConfig = loadKubeConfig(config.kubeconfig, env);
  const client = new ApiClient(kubeConfig);
  const source = new ClusterSource({ ...watchScope(config.compile), kubeConfig, logger: log });
  const budget = new CallBudget(SYSTEM_CLOCK);
  await checkAccess(config, budget, log);
  const election = new Election(config.process.election, client, log);
  const metrics = new Metrics({
    clock: SYSTEM_CLOCK,
    wallMs: Date.now,
    sources: {
      calls: () => budget.counts,
      kinds: () => source.stats(),
      synced: () => source.synced,
      leads: () => election.term !== null,
      leaseTransitions: () => election.lease?.transitions ?? 0,
    },
  });
  const found = new FoundProblems();
  const share = new CallShare(budget, SYSTEM_CLOCK, CERTIFICATE_CALLS_MAX);
  const certificates = certificateFollower({
    edgeTlsFor: (term, fencingToken) => edgeTlsFor(term, fencingToken, config, share, log),
    found,
    onFound: () => loop.changed(),
  });
  const followers = new Followers([...followersOf(client, metrics, log), certificates], log);
  const reconciler = new Reconciler({
    source,
    compile: config.compile,
    leadership: election,
    publisherFor: (term) => publisherFor(term, config, { budget, key, log }),
    followers,
    found,
    metrics,
    clock: SYSTEM_CLOCK,
    wallMs: Date.now,
    log,
  });
  const run = () => reconciler.run();
  const loop = new ReconcileLoop({ source, log, clock: SYSTEM_CLOCK, random: Math.random, run });
  const health = new Health({ source, loop, reconciler, election });
  const probes = await Probes.start({
    ...config.process.probes,
    live: () => health.live(),
    ready: () => health.ready(),
    metrics: metrics.registry,
  });
  log.info({ probePort: probes.port, identity: election.identity }, 'started');
  election.start(() => {
    metrics.leadershipChanged(election.term !== null);
    loop.changed();
  });
  await loop.start();
  log.info({ signal: await signal }, 'stopping');
  health.stopping();
  await finish(() => loop.stop().then(() => followers.idle()), election);
  await election.stop();
  await probes.close();
  client.close();
}

/**
 * One read of D1, so that a token, an id or a database that is wrong ends the process right away, and
 * with it the rollout that brought it, and not when it comes to lead. A Cloudflare that cannot be
 * reached now is no reason to.
 *
 * @throws CloudflareError that names what is wrong
 */
async function checkAccess(config: Config, budget: CallBudget, log: Logger): Promise<void> {
  const { cloudflare, cluster } = config;
  const elapsed = AbortSignal.timeout(CHECK_MS);
  const context = { clock: SYSTEM_CLOCK, random: Math.random, signal: elapsed, budget };
  const d1 = new D1Database(
    new CloudflareApi({ ...cloudflare, ...context }),
    cloudflare.databaseId,
  );
  try {
    await new Ledger(d1, cluster).read();
  } catch (error) {
    if (error instanceof CloudflareError && !error.isTransient) throw error;
    log.warn({ error: describeError(error) }, 'Cloudflare cannot be reached yet');
  }
}

/** What is done with what was published: status and Events. */
function followersOf(client: ApiClient, metrics: Metrics, log: Logger): readonly Follower[] {
  const context = { client, log, clock: SYSTEM_CLOCK, random: Math.random };
  return [
    statusFollower({ ...context, onOutcome: (outcome) => metrics.statusWritten(outcome) }),
    eventFollower({
      ...context,
      wallMs: Date.now,
      instance: process.env.POD_NAME || hostname(),
      onOutcome: (outcome) => metrics.eventTold(outcome),
    }),
  ];
}

/** Every call of it ends with the term, and counts against the one budget. */
function publisherFor(
  term: Term,
  { cloudflare, cluster }: Config,
  { budget, key, log }: { budget: CallBudget; key: SignatureKey | null; log: Logger },
): Publisher {
  const api = apiFor(term, cloudflare, budget);
  return new Publisher({
    kv: new KvStore(api, cloudflare.namespaceId),
    d1: new D1Database(api, cloudflare.databaseId),
    cluster,
    publishedBy: hostname(),
    signingKey: key,
    now: Date.now,
    log,
  });
}

function edgeTlsFor(
  term: Term,
  fencingToken: number,
  { certificates: settings, cloudflare, cluster }: Config,
  budget: Budget,
  log: Logger,
): EdgeTls {
  const api = apiFor(term, cloudflare, budget);
  const d1 = new D1Database(api, cloudflare.databaseId);
  const ledger = new CertificateLedger(d1, cluster, fencingToken);
  const tls = new TlsApi(api);
  return new EdgeTls({ settings, tls, ledger, nowMs: Date.now, newId: randomUUID, log });
}

function apiFor(term: Term, cloudflare: Config['cloudflare'], budget: Budget): CloudflareApi {
  return new CloudflareApi({
    ...cloudflare,
    clock: SYSTEM_CLOCK,
    random: Math.random,
    signal: term.signal,
    permit: () => term.check(),
    budget,
  });
}

function signalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
}

/**
 * Lets what is under way come to its end, still leading; what takes too long is abandoned, and what
 * cannot be is left, so that the Lease is released in any case.
 */
async function finish(work: () => Promise<void>, election: Election): Promise<void> {
  const done = new AbortController();
  const abandon = async () => {
    await SYSTEM_CLOCK.sleep(FINISH_MS, done.signal);
    if (!done.signal.aborted) election.term?.end('this process ends');
    await SYSTEM_CLOCK.sleep(ABANDON_MS, done.signal);
  };
  await Promise.race([work(), abandon()]);
  done.abort();
}
