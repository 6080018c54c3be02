import { SYSTEM_CLOCK } from '../syncer/clock.ts';
import type { CompileOptions } from '../syncer/compile/options.ts';
import { compileAt, type TimedCompilation } from '../syncer/compile/validity.ts';
import type { Logger } from '../syncer/log.ts';
import { ReconcileLoop } from '../syncer/loop.ts';
import type { Publisher } from '../syncer/publish.ts';
import type { StateSource } from '../syncer/source.ts';
import { EchoServers } from './echo.ts';
import { type Edge, startEdge } from './edge.ts';
import { edgePublisher, waitUntilServed } from './edge-publisher.ts';
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
  readonly compilation: TimedCompilation;
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
    const publisher = edgePublisher(edge, {
      cluster: CLUSTER,
      publishedBy: `causeway dev, process ${process.pid}`,
      signingKey: options.keys?.privateKey ?? null,
      log,
      signal: abort.signal,
    });
    await publisher.claim();
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

async function run(
  publisher: Publisher,
  edge: Edge,
  echo: EchoServers,
  options: GatewayOptions,
): Promise<void> {
  const compilation = compileAt(options.source.state(), options.compile, Date.now());
  if (options.echo) await echo.follow(compilation.snapshot.upstreams);
  const { version } = await publisher.publish(compilation.snapshot, compilation.problems);
  await waitUntilServed(edge, version);
  options.onServed({ version, compilation });
}
