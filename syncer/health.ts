import type { LeaseSpec } from './lease.ts';

/** As far as health is concerned. */
export interface HealthSources {
  readonly source: { readonly synced: boolean };
  readonly loop: { readonly runningForMs: number };
  readonly reconciler: { readonly failingForMs: number; readonly isDeposed: boolean };
  readonly election: { readonly isByLease: boolean; readonly lease: LeaseSpec | null };
}

/**
 * The longest that a run may take with good reason: Cloudflare's `retry-after` of ten minutes at
 * most, the five of the budget, and the calls.
 */
const STUCK_MS = 20 * 60_000;
/** Shorter outages are nobody's concern: the edge serves on. */
const FAILING_MS = 5 * 60_000;

/** What the probes say: a sentence about what is wrong, or `null`. */
export class Health {
  readonly #sources: HealthSources;
  #wasSynced = false;
  #sawLease = false;
  #isStopping = false;

  constructor(sources: HealthSources) {
    this.#sources = sources;
  }

  stopping(): void {
    this.#isStopping = true;
  }

  /** Only what a new process would mend. An API server or a Cloudflare that is away is not that. */
  live(): string | null {
    const { runningForMs } = this.#sources.loop;
    if (runningForMs < STUCK_MS) return null;
    return `one run has been under way for ${Math.round(runningForMs / 60_000)} min`;
  }

  /**
   * Synced counts for ever once it was so: a Secret that is new to us, or an API server that starts
   * anew, takes nothing away from what is published. A standby is as ready as the leader.
   */
  ready(): string | null {
    const { source, reconciler, election } = this.#sources;
    this.#wasSynced ||= source.synced;
    this.#sawLease ||= !election.isByLease || election.lease !== null;
    if (this.#isStopping) return 'stopping';
    if (!this.#wasSynced) return 'not every watched kind was listed yet (see the log)';
    if (!this.#sawLease) return 'the Lease of the leader could not be read yet (see the log)';
    if (reconciler.isDeposed) return 'deposed: another syncer publishes for this cluster';
    const minutes = Math.round(reconciler.failingForMs / 60_000);
    if (reconciler.failingForMs >= FAILING_MS) return `publishing has failed for ${minutes} min`;
    return null;
  }
}
