import type { Compilation } from './compile.ts';
import { describeError } from './kubernetes/api-error.ts';
import type { Logger } from './log.ts';
import type { PublishResult } from './publish-result.ts';

/** What one run of the loop came to. */
export interface Served {
  readonly compilation: Compilation;
  readonly version: string;
  readonly result: PublishResult;
}

/**
 * Tells somebody of a publication: `status` of Ingresses, Events. It is called after every run while
 * leading, also after one that changed nothing (that is when a status somebody else wiped is seen),
 * and never throws. Its promise ends with the work, or when newer work took its place: publishing
 * must not wait for it, since after a start there may be thousands of objects to write.
 */
export type Follower = (served: Served) => Promise<void>;

/** Does one thing at a time and the newest next; what came in between is left out. */
export function newestFirst(follow: Follower, log: Logger): Follower {
  let running: Promise<void> | null = null;
  let next: Served | null = null;
  const drain = async () => {
    while (next) {
      const served = next;
      next = null;
      await follow(served).catch((error: unknown) => {
        log.error({ error: describeError(error) }, 'telling the cluster failed; trying later');
      });
    }
    running = null;
  };
  return (served) => {
    next = served;
    running ??= drain();
    return running;
  };
}
