import { fileURLToPath } from 'node:url';
import type { Edge } from '../../local/edge.ts';
import { type Cluster, GiveUp, waitFor } from './cluster.ts';
import type { RunningProcess } from './processes.ts';

/** One line of pino. */
export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

const PROGRAM = fileURLToPath(new URL('../../bin/causeway.mjs', import.meta.url));

/** The environment by which a syncer publishes to an edge on this machine. */
export function edgeSettings({ api }: Pick<Edge, 'api'>): Record<string, string> {
  return {
    CLOUDFLARE_BASE_URL: api.baseUrl,
    CLOUDFLARE_API_TOKEN: api.token,
    CLOUDFLARE_ACCOUNT_ID: api.accountId,
    CAUSEWAY_KV_NAMESPACE_ID: api.namespaceId,
    CAUSEWAY_D1_DATABASE_ID: api.databaseId,
  };
}

let started = 0;

/** `causeway sync` as its image starts it: a process of its own, in the edge namespace. */
export class SyncerProcess {
  readonly #cluster: Cluster;
  readonly #process: RunningProcess;

  /** Starts it and does not wait. */
  constructor(cluster: Cluster, env: Readonly<Record<string, string>>) {
    this.#cluster = cluster;
    const argv = [process.execPath, PROGRAM, 'sync'];
    this.#process = cluster.spawn('edge', `syncer-${++started}`, argv, {
      // A free one: several may run here.
      CAUSEWAY_PROBE_PORT: '0',
      ...env,
    });
  }

  /** What it has written so far, as text. */
  log(): string {
    return this.#cluster.log(this.#process.name);
  }

  lines(): LogLine[] {
    const complete = this.log().split('\n').slice(0, -1);
    return complete.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  /** Waits for a line with a message that matches. */
  async says(message: RegExp, isMeant: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    try {
      return await waitFor(`the syncer to say ${message}`, () => {
        const line = this.lines().find((it) => message.test(it.msg) && isMeant(it));
        if (line) return line;
        if (!this.#process.isRunning()) throw new GiveUp('the syncer has ended');
        return null;
      });
    } catch (error) {
      throw new Error(`${error}\nIts log:\n${this.log()}`);
    }
  }

  /** SIGSTOP, SIGCONT, SIGKILL. */
  signal(signal: NodeJS.Signals): void {
    this.#process.signal(signal);
  }

  /** SIGTERM; returns the exit code. */
  async stop(): Promise<number | null> {
    await this.#process.stop(15_000);
    return this.#process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
