import type { TimedCompilation } from './compile/validity.ts';
import { describeError } from './kubernetes/api-error.ts';
import type { Logger } from './log.ts';
import type { PublishResult } from './publish-result.ts';
import { type Term, TermOver } from './term.ts';

/** What the edge serves, as of the last run of a leader. */
export interface Served {
  readonly compilation: TimedCompilation;
  /** That of the compilation; a pinned pointer may name another. */
  readonly version: string;
  readonly result: PublishResult;
  /** With which it was published, and with which everything in D1 is to be written. */
  readonly fencingToken: number;
  /**
   * The term in which it was published. Call `term.check()` right before each write, which throws
   * when we do not lead any more, and give `term.signal` to it.
   */
  readonly term: Term;
}

/**
 * Does what follows from a publication: status, Events. It is called after every run while leading,
 * also when nothing changed, and so for the first time right after becoming leader: it compares
 * with what there is and writes what differs. What it throws is logged, and it is called again after
 * the next run.
 */
export type Follower = (served: Served) => Promise<void>;

/**
 * Calls the followers, without the next publication having to wait for them. Each is called with one
 * publication at a time, and skips those that were overtaken while it was busy.
 */
export class Followers {
  readonly #all: readonly Follower[];
  readonly #log: Logger;
  readonly #next = new Map<Follower, Served>();
  readonly #busy = new Map<Follower, Promise<void>>();

  constructor(all: readonly Follower[], log: Logger) {
    this.#all = all;
    this.#log = log;
  }

  tell(served: Served): void {
    for (const follower of this.#all) {
      this.#next.set(follower, served);
      if (!this.#busy.has(follower)) this.#busy.set(follower, this.#run(follower));
    }
  }

  /** Resolves when all have done what they were told to. */
  async idle(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy.values());
  }

  async #run(follower: Follower): Promise<void> {
    // So that `tell` has noted that it is busy before anything can end.
    await Promise.resolve();
    for (let served = this.#take(follower); served; served = this.#take(follower)) {
      try {
        served.term.check();
        await follower(served);
      } catch (error) {
        if (error instanceof TermOver || served.term.isOver) continue;
        this.#log.error({ error: describeError(error) }, 'what follows a publication failed');
      }
    }
    this.#busy.delete(follower);
  }

  #take(follower: Follower): Served | undefined {
    const served = this.#next.get(follower);
    this.#next.delete(follower);
    return served;
  }
}
