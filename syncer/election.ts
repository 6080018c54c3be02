import { hostname } from 'node:os';
import { SYSTEM_CLOCK } from './clock.ts';
import type { ApiClient } from './kubernetes/api-client.ts';
import { LEADER_TIMING, Leader } from './leader.ts';
import { KubernetesLease, type LeaseSpec } from './lease.ts';
import type { Logger } from './log.ts';
import type { ElectionConfig } from './process-config.ts';
import type { Leadership } from './reconciler.ts';
import { endlessTerm, type Term } from './term.ts';

/** Who leads, as configured: by a Lease, or this process always. */
export class Election implements Leadership {
  readonly identity: string;
  readonly #leader: Leader | null;
  readonly #always: Term | null;
  #onChange: () => void = () => {};

  constructor(config: ElectionConfig | null, client: ApiClient, log: Logger) {
    this.identity = config?.identity ?? hostname();
    this.#always = config ? null : endlessTerm();
    this.#leader =
      config &&
      new Leader({
        store: new KubernetesLease(client, config.namespace, config.lease, LEADER_TIMING.callMs),
        identity: config.identity,
        clock: SYSTEM_CLOCK,
        wallMs: Date.now,
        random: Math.random,
        log,
        onChange: () => this.#onChange(),
      });
  }

  get term(): Term | null {
    if (this.#leader) return this.#leader.term;
    return this.#always?.isOver ? null : this.#always;
  }

  /** The Lease as it was last seen; `null` before that, and without one. */
  get lease(): LeaseSpec | null {
    return this.#leader?.lease ?? null;
  }

  /** Whether a Lease decides. */
  get isByLease(): boolean {
    return this.#leader !== null;
  }

  outdated(term: Term, token: number): void {
    this.#leader?.outdated(term, token);
  }

  /** @param onChange a term began or ended; must not throw */
  start(onChange: () => void): void {
    this.#onChange = onChange;
    if (this.#leader) this.#leader.start();
    else onChange();
  }

  /** After the last write: the Lease goes to whoever asks next. */
  async stop(): Promise<void> {
    this.#always?.end('this process ends');
    await this.#leader?.stop();
  }
}
