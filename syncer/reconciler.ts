import type { FoundProblems } from './certificates/found-problems.ts';
import type { Clock } from './clock.ts';
import type { CompileOptions } from './compile/options.ts';
import { compileAt, type TimedCompilation } from './compile/validity.ts';
import type { Followers } from './followers.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';
import { countSnapshot } from './plan.ts';
import type { Publisher } from './publish.ts';
import { type PublishResult, UnfinishedPublication } from './publish-result.ts';
import type { StateSource } from './source.ts';
import type { Term } from './term.ts';

/** Whether we may publish. */
export interface Leadership {
  readonly term: Term | null;
  /** Somebody claimed `token`, and so the term's token is worth nothing. */
  outdated(term: Term, token: number): void;
}

export interface ReconcilerOptions {
  readonly source: StateSource;
  readonly compile: CompileOptions;
  readonly leadership: Leadership;
  /** A publisher of its own for each term, so that no call of an old one gets a new one's token. */
  readonly publisherFor: (term: Term) => Pick<Publisher, 'claim' | 'publish'>;
  readonly followers: Followers;
  /** What followers found out about objects; told like what the compiler finds. */
  readonly found: Pick<FoundProblems, 'list'>;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallMs: () => number;
  readonly log: Logger;
}

/**
 * One run: compile what the cluster is like, publish it if we lead, tell the followers. A standby
 * compiles too, so that its caches and its code are warm when it takes over.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  #term: Term | null = null;
  /** That of the term, once its token is claimed. */
  #publisher: Pick<Publisher, 'publish'> | null = null;
  #fencingToken = 0;
  #failingSinceMs: number | null = null;
  #isDeposed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** How long publishing has failed without one success in between; 0 when it does not. */
  get failingForMs(): number {
    const since = this.#failingSinceMs;
    return since === null ? 0 : this.#options.clock.now() - since;
  }

  /** Whether another syncer publishes for this cluster although we lead in ours. */
  get isDeposed(): boolean {
    return this.#isDeposed;
  }

  /** @throws whatever publishing throws, unless it was ended by the end of the term */
  async run(): Promise<void> {
    const compilation = this.#compile();
    const { leadership, log, metrics, followers } = this.#options;
    const { term } = leadership;
    if (term !== this.#term) this.#begin(term);
    if (!term) return;
    try {
      const result = await this.#publish(term, compilation);
      if (result === null) return;
      this.#failingSinceMs = null;
      this.#isDeposed = result.outcome === 'deposed';
      if (this.#isDeposed) return;
      followers.tell({
        compilation,
        version: result.version,
        result,
        term,
        fencingToken: this.#fencingToken,
      });
    } catch (error) {
      if (term.isOver) {
        metrics.published('abandoned');
        log.warn({ reason: term.endedBecause }, 'publication abandoned');
        return;
      }
      this.#failingSinceMs ??= this.#options.clock.now();
      throw error;
    }
  }

  #compile(): TimedCompilation {
    const { source, compile: options, leadership, found, clock, wallMs, metrics } = this.#options;
    const startedMs = clock.now();
    // Only who leads asks Cloudflare, so who does not any more knows nothing about it.
    const told = leadership.term ? found.list : [];
    const compilation = compileAt(source.state(), options, wallMs(), told);
    metrics.compiled(compilation, (clock.now() - startedMs) / 1000);
    return compilation;
  }

  /** `null` when the term's token turned out to be worth nothing. */
  async #publish(term: Term, compilation: TimedCompilation): Promise<PublishResult | null> {
    const { clock, metrics } = this.#options;
    const startedMs = clock.now();
    const seconds = () => (clock.now() - startedMs) / 1000;
    try {
      const publisher = this.#publisher ?? (await this.#claim(term));
      if (!publisher) return null;
      const result = await publisher.publish(compilation.snapshot, compilation.problems);
      metrics.published(result.outcome, seconds());
      this.#tell(result, compilation, seconds());
      return result;
    } catch (error) {
      if (term.isOver) throw error;
      const isUnfinished = error instanceof UnfinishedPublication;
      if (isUnfinished) this.#tell(error.result, compilation, seconds());
      metrics.published(isUnfinished ? 'unfinished' : 'failed', seconds());
      throw error;
    }
  }

  async #claim(term: Term): Promise<Pick<Publisher, 'publish'> | null> {
    const { leadership, publisherFor } = this.#options;
    const publisher = publisherFor(term);
    const { granted, fencingToken } = await publisher.claim(term.token);
    if (!granted) {
      leadership.outdated(term, fencingToken);
      return null;
    }
    this.#publisher = publisher;
    this.#fencingToken = term.token ?? fencingToken;
    return publisher;
  }

  /** One line for each publication; what stays as it is, and what the publisher tells, has none. */
  #tell(result: PublishResult, { snapshot, problems }: TimedCompilation, seconds: number): void {
    if (result.outcome !== 'published') return;
    const counts = { ...countSnapshot(snapshot), problems: problems.length };
    this.#options.log.info({ ...result, ...counts, seconds }, 'published');
  }

  #begin(term: Term | null): void {
    this.#term = term;
    this.#publisher = null;
    this.#failingSinceMs = null;
    this.#isDeposed = false;
  }
}
