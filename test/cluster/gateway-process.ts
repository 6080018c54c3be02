import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AdminView, servedVersion, untilServed } from './admin-view.ts';
import { type Answer, ask, type Question, verdict } from './ask.ts';
import { type Cluster, GiveUp, waitFor } from './cluster.ts';
import { currentEdge } from './edge.ts';
import type { RunningProcess } from './processes.ts';

export interface GatewayOptions {
  kubeconfig: string;
  /** Default: a new folder. */
  persist?: string;
  /** Default: a free port, known once the gateway is ready. */
  port?: number;
  /** Further flags of `causeway dev`. */
  flags?: readonly string[];
}

const ADMIN_TOKEN = 'a-token-for-the-tests';

const READY = /^causeway ready http=http:\/\/[^ ]*:(\d+) https=https:\/\/[^ ]*:(\d+) .*$/m;

let started = 0;

/** `causeway dev --kubeconfig FILE` as a user starts it: a process of its own, in the edge namespace. */
export class GatewayProcess {
  readonly persist: string;
  readonly #cluster: Cluster;
  readonly #process: RunningProcess;
  #port: number | undefined;
  #httpsPort: number | undefined;

  /** Starts it and does not wait. */
  constructor(cluster: Cluster, options: GatewayOptions) {
    this.#cluster = cluster;
    this.#port = options.port;
    // Goes with the edge.
    this.persist = options.persist ?? mkdtempSync(join(currentEdge().dir, 'gateway-'));
    const program = fileURLToPath(new URL('../../bin/causeway.mjs', import.meta.url));
    const argv = [
      ...[process.execPath, program, 'dev', '--kubeconfig', options.kubeconfig],
      ...['--http-port', String(options.port ?? 0), '--https-port', '0'],
      ...['--persist', this.persist],
      ...(options.flags ?? []),
    ];
    const env = { CAUSEWAY_ADMIN_TOKEN: ADMIN_TOKEN };
    this.#process = cluster.spawn('edge', `gateway-${++started}`, argv, env);
  }

  /** Starts it and waits until it says that it is ready. */
  static async start(cluster: Cluster, options: GatewayOptions): Promise<GatewayProcess> {
    const gateway = new GatewayProcess(cluster, options);
    await gateway.ready();
    return gateway;
  }

  /** Waits for the line of the gateway that scripts can wait for, and returns it. */
  async ready(): Promise<string> {
    const [line, port, httpsPort] = await waitFor('the gateway to be ready', () => {
      if (!this.#process.isRunning()) throw new GiveUp(`the gateway ended:\n${this.log()}`);
      return READY.exec(this.log());
    });
    this.#port = Number(port);
    this.#httpsPort = Number(httpsPort);
    return line;
  }

  /** Whether it has said that it is ready. */
  isReady(): boolean {
    return READY.test(this.log());
  }

  /** What it has written to its standard output and standard error. */
  log(): string {
    return this.#cluster.log(this.#process.name);
  }

  get port(): number {
    if (this.#port === undefined) throw new Error('a port of its own is known when it is ready');
    return this.#port;
  }

  /** Where it terminates TLS. */
  get httpsPort(): number {
    if (this.#httpsPort === undefined) throw new Error('this port is known when it is ready');
    return this.#httpsPort;
  }

  /** Over TLS when the question says whom to trust. */
  ask(question: Question): Promise<Answer> {
    return ask(question.ca === undefined ? this.port : this.httpsPort, question);
  }

  /** As `200 default/web` or `503 edge`. */
  verdict(host: string, path = '/'): Promise<string> {
    return verdict(this.port, { host, path });
  }

  /** The version that the edge serves; `null` when it has none. */
  version(): Promise<string | null> {
    return servedVersion(this.port, ADMIN_TOKEN);
  }

  /** What the admin API answers at a path, as text. */
  async adminAnswer(path: string): Promise<string> {
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
    return (await this.ask({ host: 'admin.localhost', path, headers })).text;
  }

  /** Waits until the edge serves what `isThere` describes: see {@link untilServed}. */
  async serves(what: string, isThere: (view: AdminView) => boolean): Promise<AdminView> {
    try {
      return await untilServed(this.port, ADMIN_TOKEN, what, isThere);
    } catch (error) {
      throw new Error(`${error}\nIts log:\n${this.log()}`);
    }
  }

  /** SIGTERM; returns the exit code. */
  async stop(): Promise<number | null> {
    await this.#process.stop(10_000);
    return this.#process.exited;
  }

  /** As a crash would: SIGKILL. */
  async kill(): Promise<void> {
    this.#process.signal('SIGKILL');
    await this.#process.exited;
  }
}
