import type { Clock } from './clock.ts';
import { ApiError, describeError } from './kubernetes/api-error.ts';
import type { Lease, LeaseSpec, LeaseStore } from './lease.ts';
import type { Logger } from './log.ts';
import { now, Term, type TwoClocks } from './term.ts';

export interface LeaderOptions {
  readonly store: LeaseStore;
  /** Unique to this process: a Lease that names it is ours, whatever became of the answer. */
  readonly identity: string;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallMs: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Logger;
  /** A term began or ended. Must not throw. */
  readonly onChange: () => void;
  readonly timing?: LeaderTiming;
}

export interface LeaderTiming {
  /** How long others leave a Lease alone that they see unchanged. */
  readonly durationMs: number;
  /** How long a leader leads without a renewal; the difference is for calls under way. */
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
  /** Two calls that get no answer must fit into the deadline. */
  readonly callMs: number;
}

/** Those of Kubernetes' own controllers. */
export const LEADER_TIMING: LeaderTiming = {
  durationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryMs: 2_000,
  callMs: 4_000,
};

/** After a write that somebody else's was faster than. */
const CONFLICT_PAUSE_MS = 100;

/**
 * Takes part in the election for one Lease, for ever. No clocks are compared: a Lease has expired
 * when it did not change for its duration since we first saw it so, and a leader counts from before
 * it sent the last renewal that succeeded. Since that is before anybody can have seen it, and shorter,
 * no two lead at once as long as their clocks run about equally fast.
 *
 * Every term is begun by a write that counts `leaseTransitions` up, also when the Lease was ours
 * before: so each term has a fencing token of its own, which is all that law 5 needs to know.
 */
export class Leader {
  readonly #options: LeaderOptions;
  readonly #timing: LeaderTiming;
  readonly #clocks: TwoClocks;
  readonly #stopped = new AbortController();
  #wake = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #term: Term | null = null;
  /** The Lease as we may write over it; `null` when there is none or it is not known. */
  #lease: Lease | null = null;
  /** What the Lease says, and since when we see it say so. */
  #observed: { readonly lease: Lease; readonly text: string; readonly sinceMs: number } | null =
    null;
  /** No term of ours has this token or a lower one. */
  #floor = 0;
  #hasConflict = false;
  /** What the log was told that is wrong, until it is right again. */
  #complaint: string | null = null;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#timing = options.timing ?? LEADER_TIMING;
    const { clock, wallMs } = options;
    this.#clocks = { monotonicMs: () => clock.now(), wallMs };
  }

  /** The present term; `null` when we do not lead. */
  get term(): Term | null {
    return this.#term?.isOver ? null : this.#term;
  }

  /** The Lease as it was last seen, for people. */
  get lease(): LeaseSpec | null {
    return this.#observed?.lease ?? null;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** `token` was claimed by somebody, so this term's is worth nothing: the next one gets a higher. */
  outdated(term: Term, token: number): void {
    this.#floor = Math.max(this.#floor, token);
    term.end(`its fencing token ${term.token} is not above ${token}, which was claimed before`);
    this.#wake.abort();
  }

  /** Ends the term and gives the Lease away, so that nobody has to wait for it to expire. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error('stopping'));
    this.#wake.abort();
    await this.#running;
    this.#term?.end('this process ends');
    try {
      // The second time after a write of our own that came late.
      if (!(await this.#release())) await this.#release();
    } catch (error) {
      const fields = { error: describeError(error) };
      this.#options.log.warn(fields, 'the Lease was not released; it expires');
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      this.#hasConflict = false;
      try {
        await this.#round();
        this.#wentWell();
      } catch (error) {
        // The write may have been done all the same.
        this.#lease = null;
        this.#complain(error);
      }
      await this.#options.clock.sleep(this.#pauseMs(), this.#wake.signal);
      this.#wake = new AbortController();
      if (this.#stopped.signal.aborted) this.#wake.abort();
    }
  }

  async #round(): Promise<void> {
    const term = this.term;
    if (term && this.#lease) return this.#renew(term, this.#lease);
    const lease = await this.#look();
    if (term && lease?.holder === this.#options.identity && lease.transitions === term.token) {
      return this.#renew(term, lease);
    }
    if (lease) term?.end(`the Lease went to "${lease.holder}"`);
    else term?.end('the Lease was deleted');
    if (this.#isFree(lease)) await this.#take(lease);
  }

  async #look(): Promise<Lease | null> {
    const lease = await this.#call((signal) => this.#options.store.read(signal));
    this.#observe(lease);
    return lease;
  }

  #isFree(lease: Lease | null): boolean {
    if (!lease || lease.holder === '' || lease.holder === this.#options.identity) return true;
    return this.#expiresInMs(lease) <= 0;
  }

  #expiresInMs({ durationMs }: Lease): number {
    const seenForMs = this.#clocks.monotonicMs() - (this.#observed?.sinceMs ?? 0);
    return (durationMs > 0 ? durationMs : this.#timing.durationMs) - seenForMs;
  }

  async #take(lease: Lease | null): Promise<void> {
    const { store, identity } = this.#options;
    const { durationMs, renewDeadlineMs } = this.#timing;
    const sentAt = now(this.#clocks);
    const spec: LeaseSpec = {
      holder: identity,
      durationMs,
      transitions: Math.max(lease?.transitions ?? 0, this.#floor) + 1,
      acquiredAtMs: sentAt.wallMs,
      renewedAtMs: sentAt.wallMs,
    };
    const taken = await this.#call((signal) =>
      lease ? store.replace(lease, spec, signal) : store.create(spec, signal),
    );
    if (!taken) return;
    this.#observe(taken);
    this.#floor = spec.transitions;
    const term = new Term(spec.transitions, renewDeadlineMs, sentAt, this.#clocks);
    // An answer that came too late is none.
    if (!term.isOver) this.#begin(term, lease);
  }

  async #renew(term: Term, lease: Lease): Promise<void> {
    const sentAt = now(this.#clocks);
    const { store, identity: holder } = this.#options;
    const spec = { ...lease, holder, renewedAtMs: sentAt.wallMs };
    const renewed = await this.#call((signal) => store.replace(lease, spec, signal));
    this.#lease = renewed;
    this.#hasConflict = renewed === null;
    if (!renewed) return;
    this.#observe(renewed);
    term.renewed(sentAt);
  }

  /** Whether the Lease is certainly not ours any more. */
  async #release(): Promise<boolean> {
    const { store, identity } = this.#options;
    // We stop already: only the clock ends these calls.
    const end = new AbortController().signal;
    const lease = this.#lease ?? (await this.#call((signal) => store.read(signal), end));
    this.#lease = null;
    if (lease?.holder !== identity) return true;
    const renewedAtMs = this.#clocks.wallMs();
    const spec = { ...lease, holder: '', durationMs: 1000, renewedAtMs };
    return (await this.#call((signal) => store.replace(lease, spec, signal), end)) !== null;
  }

  #begin(term: Term, before: Lease | null): void {
    this.#term = term;
    const { log, onChange, identity } = this.#options;
    const fields = { identity, fencingToken: term.token, before: before?.holder ?? null };
    log.info(fields, `leading: ${reason(before, identity)}`);
    void this.#watch(term);
    onChange();
  }

  /** Tells of the end of a term, and brings it about if nothing else does. */
  async #watch(term: Term): Promise<void> {
    for (let leftMs = term.remainingMs(); leftMs > 0; leftMs = term.remainingMs()) {
      await this.#options.clock.sleep(leftMs, term.signal);
    }
    const { log, onChange } = this.#options;
    const fields = { fencingToken: term.token, reason: term.endedBecause };
    log.warn(fields, 'no longer leading');
    onChange();
  }

  #observe(lease: Lease | null): void {
    this.#lease = lease;
    if (!lease) {
      this.#observed = null;
      return;
    }
    const { metadata: _, ...spec } = lease;
    const text = JSON.stringify(spec);
    const isSame = this.#observed?.text === text;
    const sinceMs = isSame ? (this.#observed?.sinceMs ?? 0) : this.#clocks.monotonicMs();
    this.#observed = { lease, text, sinceMs };
  }

  /** Not all standbys at once; and not later than the Lease expires. */
  #pauseMs(): number {
    if (this.#hasConflict) return CONFLICT_PAUSE_MS;
    const pauseMs = this.#timing.retryMs * (1 + this.#options.random() / 5);
    const lease = this.#lease;
    if (!lease || this.term || lease.holder === '') return pauseMs;
    const expiresInMs = this.#expiresInMs(lease);
    return expiresInMs > 0 ? Math.min(pauseMs, expiresInMs) : pauseMs;
  }

  /** @throws whatever `work` throws, or an Error when it takes too long or `end` aborts */
  async #call<T>(
    work: (signal: AbortSignal) => Promise<T>,
    end: AbortSignal = this.#stopped.signal,
  ): Promise<T> {
    const { callMs } = this.#timing;
    const elapsed = new AbortController();
    const done = new AbortController();
    const signal = AbortSignal.any([elapsed.signal, end]);
    // Not everything before a request ends with its signal: a plugin that brings credentials.
    const given = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const late = new Error(`no answer within ${callMs / 1000} s`);
    void this.#options.clock.sleep(callMs, done.signal).then(() => elapsed.abort(late));
    try {
      signal.throwIfAborted();
      return await Promise.race([work(signal), given]);
    } finally {
      done.abort();
    }
  }

  #complain(error: unknown): void {
    if (this.#stopped.signal.aborted) return;
    const status = error instanceof ApiError ? error.status : 0;
    const sort = status === 403 ? 'forbidden' : 'away';
    if (sort === this.#complaint) return;
    this.#complaint = sort;
    const text =
      sort === 'forbidden'
        ? "may not use the Lease: allow get, create and update on leases to the syncer's ServiceAccount (see deploy/); it then goes on by itself"
        : 'cannot reach the Lease; trying again';
    this.#options.log.warn({ error: describeError(error) }, text);
  }

  #wentWell(): void {
    if (this.#complaint === null) return;
    this.#complaint = null;
    this.#options.log.info({}, 'reaching the Lease again');
  }
}

function reason(before: Lease | null, identity: string): string {
  if (!before) return 'there was no Lease';
  if (before.holder === '') return 'the Lease was free';
  if (before.holder === identity) return 'the Lease was ours already';
  return `the Lease of "${before.holder}" expired`;
}
