import { SYSTEM_CLOCK } from '../syncer/clock.ts';
import type { CompileOptions } from '../syncer/compile/options.ts';
import { compileAt, type TimedCompilation } from '../syncer/compile/validity.ts';
import type { Logger } from '../syncer/log.ts';
import { ReconcileLoop } from '../syncer/loop.ts';
import type { Publisher } from '../syncer/publish.ts';
import type { StateSource } from '../syncer/source.ts';
import { EchoServers } from './echo.ts';
import { type Edge, type EdgeOptions, startEdge } from './edge.ts';
import { edgePublisher, waitUntilServed } from './edge-publisher.ts';
import { Front } from './front.ts';
import type { SigningKeys } from './signing-keys.ts';
import { defaultCertificate } from './tls/default-certificate.ts';

export interface GatewayOptions {
  readonly source: StateSource;
  readonly compile: CompileOptions;
  /** Ports may be 0 for free ones. */
  readonly listen: { readonly host: string; readonly httpPort: number; readonly httpsPort: number };
  readonly persist: string | null;
  readonly keys: SigningKeys | null;
  readonly productionRules: boolean;
  readonly adminToken: string | null;
  readonly echo: boolean;
  readonly log: Logger;
  readonly onWorkerLog: (text: string) => void;
  /** Once workerd runs, and before it is asked anything. */
  readonly onEdge?: () => void;
  /** After each run, once the edge serves what it published. */
  readonly onServed: (served: Served) => void;
}

export interface Served {
  readonly version: string;
  readonly compilation: TimedCompilation;
}

/** The embedded gateway: the production syncer and the production worker on one machine. */
export interface Gateway {
  readonly httpUrl: string;
  readonly httpsUrl: string;
  readonly edge: Edge;
  stop(): Promise<void>;
}

export const CLUSTER = 'local';
export const ADMIN_HOST = 'admin.localhost';

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { source, log, listen } = options;
  // Before all that takes its time: a port that is taken is told at once.
  const front = await Front.start({
    ...listen,
    certificate: await defaultCertificate(options.persist, Date.now()),
    report: (message) => log.warn({}, message),
  });
  const echo = new EchoServers((message) => log.warn({}, message));
  let edge: Edge | null = null;
  try {
    edge = await startEdge({ ...edgeOptions(options), httpsPort: front.httpsPort });
    options.onEdge?.();
    front.serve(edge.worker);
    const abort = new AbortController();
    const publisher = edgePublisher(edge, {
      cluster: CLUSTER,
      publishedBy: `causeway dev, process ${process.pid}`,
      signingKey: options.keys?.privateKey ?? null,
      log,
      signal: abort.signal,
    });
    await publisher.claim();
    const parts = { publisher, edge, front, echo };
    const loop = new ReconcileLoop({
      source,
      log,
      clock: SYSTEM_CLOCK,
      random: Math.random,
      run: () => run(parts, options),
    });
    await loop.start();
    const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
    return {
      httpUrl: `http://${host}:${front.port}`,
      httpsUrl: `https://${host}:${front.httpsPort}`,
      edge,
      stop: async () => {
        abort.abort();
        await loop.stop();
        await front.close();
        await echo.stop();
        await parts.edge.stop();
      },
    };
  } catch (error) {
    await source.stop();
    await front.close();
    await edge?.stop();
    throw error;
  }
}

function edgeOptions(options: GatewayOptions): EdgeOptions {
  return {
    persist: options.persist,
    cluster: CLUSTER,
    publicKey: options.keys?.publicKey ?? null,
    productionRules: options.productionRules,
    adminHost: ADMIN_HOST,
    adminToken: options.adminToken,
    onLog: options.onWorkerLog,
  };
}

interface Parts {
  readonly publisher: Publisher;
  readonly edge: Edge;
  readonly front: Front;
  readonly echo: EchoServers;
}

async function run(
  { publisher, edge, front, echo }: Parts,
  options: GatewayOptions,
): Promise<void> {
  const compilation = compileAt(options.source.state(), options.compile, Date.now());
  const { snapshot, certificates, problems } = compilation;
  // Before the routes: whoever sees a new host has its certificate, and is asked for his own.
  front.present({ certificates, virtualHosts: snapshot.virtualHosts });
  if (options.echo) await echo.follow(snapshot.upstreams);
  const { version } = await publisher.publish(snapshot, problems);
  await waitUntilServed(edge, version);
  options.onServed({ version, compilation });
}
