import { PROBLEM_REASONS, type Problem } from '../snapshot/types.ts';
import { FileSource } from '../syncer/files/file-source.ts';
import { ClusterSource } from '../syncer/kubernetes/cluster-source.ts';
import { loadKubeConfig } from '../syncer/kubernetes/kube-config.ts';
import { describeRef } from '../syncer/kubernetes/objects.ts';
import type { Logger } from '../syncer/log.ts';
import type { StateSource } from '../syncer/source.ts';
import { watchScope } from '../syncer/watch-scope.ts';
import { type ControllerFlags, compileOptions } from './controller-options.ts';
import { type Gateway, type Served, startGateway } from './gateway.ts';
import { countRoutes } from './report.ts';
import { localSigningKeys } from './signing-keys.ts';

export interface DevFlags extends ControllerFlags {
  readonly kubeconfig?: string;
  readonly host: string;
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly persist: string;
  readonly nodeAddress: string;
  readonly echo?: boolean;
}

/** Runs the embedded gateway until a signal ends it. Lines for scripts go to standard output. */
export async function dev(paths: readonly string[], flags: DevFlags): Promise<void> {
  const source = sourceOf(paths, flags);
  const reporter = new Reporter();
  let ready: ((served: Served) => void) | null = null;
  const firstServed = new Promise<Served>((resolve) => {
    ready = resolve;
  });
  const end = new EndSignal();
  const gateway = await startGateway({
    source,
    compile: compileOptions(flags),
    listen: { host: flags.host, httpPort: flags.httpPort, httpsPort: flags.httpsPort },
    persist: flags.persist,
    keys: await localSigningKeys(flags.persist),
    productionRules: flags.productionRules ?? false,
    adminToken: process.env.CAUSEWAY_ADMIN_TOKEN || null,
    echo: flags.echo ?? false,
    log: TERMINAL_LOGGER,
    onWorkerLog: (text) => console.error(text),
    onEdge: () => end.listen(),
    onServed: (served) => {
      if (ready) {
        ready(served);
        ready = null;
        return;
      }
      reporter.problems(served.compilation.problems);
      console.log(`causeway reloaded ${summary(served)}`);
    },
  });
  const served = await Promise.race([firstServed, end.asked]);
  if (served) {
    reporter.problems(served.compilation.problems);
    console.log(
      `causeway ready http=${gateway.httpUrl} https=${gateway.httpsUrl} ${summary(served)}`,
    );
    console.log(urlsToTry(gateway, served).join('\n'));
  }
  await end.asked;
  await gateway.stop();
}

function sourceOf(paths: readonly string[], flags: DevFlags): StateSource {
  if (flags.kubeconfig !== undefined) {
    const kubeConfig = loadKubeConfig(flags.kubeconfig);
    const scope = watchScope(compileOptions(flags));
    return new ClusterSource({ ...scope, kubeConfig, logger: TERMINAL_LOGGER });
  }
  const files = new FileSource({ paths, nodeAddress: flags.nodeAddress });
  // A mistake in them is told before anything is started.
  files.read();
  return files;
}

/**
 * Hears the first signal that asks to end, so that all is stopped in order. A second one ends the
 * process at once; Miniflare's exit hook takes workerd along then.
 */
class EndSignal {
  readonly #asked = Promise.withResolvers<null>();
  #isAsked = false;

  get asked(): Promise<null> {
    return this.#asked.promise;
  }

  /** In the place of Miniflare's own handlers, which would cut the end short. */
  listen(): void {
    for (const signal of ['SIGINT', 'SIGTERM']) {
      process.removeAllListeners(signal);
      process.on(signal, () => {
        if (this.#isAsked) process.exit(1);
        this.#isAsked = true;
        this.#asked.resolve(null);
      });
    }
  }
}

function summary({ version, compilation }: Served): string {
  return `version=${version.slice(0, 12)} routes=${countRoutes(compilation)} problems=${compilation.problems.length}`;
}

const URLS_MAX = 8;

function urlsToTry(
  { httpUrl, httpsUrl, edge }: Gateway,
  { compilation }: Served,
): readonly string[] {
  const { hostname: address, port } = new URL(httpsUrl);
  const lines = compilation.snapshot.virtualHosts.flatMap(({ hostname, routes }) => {
    const host = hostname === '*' ? 'any.host' : hostname.replace(/^\*/, 'any');
    const [route] = routes.filter((it) => it.match.path !== '/').concat(routes);
    const path = route?.match.path ?? '/';
    if (!route?.httpsOnly) return [`  curl -H 'Host: ${host}' ${httpUrl}${path}`];
    return [`  curl -k --resolve ${host}:${port}:${address} https://${host}:${port}${path}`];
  });
  const httpPort = httpUrl.slice(httpUrl.lastIndexOf(':'));
  return [
    'Try:',
    ...lines.slice(0, URLS_MAX),
    `  curl -H 'Authorization: Bearer ${edge.admin.token}' http://${edge.admin.host}${httpPort}/api/routes`,
  ];
}

/** Says each problem when it comes up and when it is mended, and not again in between. */
class Reporter {
  #known = new Map<string, string>();

  problems(problems: readonly Problem[]): void {
    const now = new Map(
      problems.map((it) => {
        const text = `${it.reason} ${describeRef(it.object)}: ${it.message}`;
        return [text, `${PROBLEM_REASONS[it.reason]} ${text}`];
      }),
    );
    for (const [key, line] of now) if (!this.#known.has(key)) console.error(line);
    for (const [key] of this.#known) if (!now.has(key)) console.error(`mended ${key}`);
    this.#known = now;
  }
}

const TERMINAL_LOGGER: Logger = {
  info: () => {},
  warn: (fields, message) => console.error(`warning ${message}${fieldsText(fields)}`),
  error: (fields, message) => console.error(`error ${message}${fieldsText(fields)}`),
};

function fieldsText(fields: object): string {
  const text = JSON.stringify(fields, (_, value) =>
    value instanceof Error ? value.message : value,
  );
  return text === '{}' ? '' : ` ${text}`;
}
