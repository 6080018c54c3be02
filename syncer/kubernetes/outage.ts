import type { Logger } from '../log.ts';
import { ApiError, describeError } from './api-error.ts';
import { type Collection, describeCollection, RESOURCES, resourceName } from './resource.ts';

export type Verb = 'list' | 'watch';

/** Whether a collection is watched now and if not why; tells the log of it once, not at each try. */
export class Outage {
  readonly #collection: Collection;
  readonly #logger: Logger;
  #error: string | null = null;
  #refusals = 0;
  /** What sort of failure was logged last and is not over. */
  #warned: string | null = null;

  constructor(collection: Collection, logger: Logger) {
    this.#collection = collection;
    this.#logger = logger;
  }

  /** `null` when there is none. */
  get error(): string | null {
    return this.#error;
  }

  fail(failure: unknown, verb: Verb): void {
    const status = failure instanceof ApiError ? failure.status : 0;
    this.#error = describeError(failure);
    this.#refusals = status === 403 ? this.#refusals + 1 : 0;
    const sort = this.#sort(status, verb);
    if (sort === null || sort === this.#warned) return;
    this.#warned = sort;
    this.#warn(this.#error, status, verb);
  }

  end(): void {
    this.#error = null;
    this.#refusals = 0;
    if (this.#warned === null) return;
    this.#warned = null;
    const { kind, namespace, name } = this.#collection;
    const fields = { resource: resourceName(kind), namespace, name };
    this.#logger.info(fields, `watching ${describeCollection(this.#collection)} again`);
  }

  /** `null` for what nobody need know. */
  #sort(status: number, verb: Verb): string | null {
    // The normal end of a long silence.
    if (status === 410) return null;
    // A starting server refuses everybody until it has read its rules.
    if (status === 403 && this.#refusals < 2) return null;
    if (status !== 0 && status !== 429 && status < 500) return `${verb} ${status}`;
    // A thousand watches of single objects need not say what those of the kinds say.
    return this.#collection.name === null ? 'away' : null;
  }

  #warn(error: string, status: number, verb: Verb): void {
    const { kind, namespace, name } = this.#collection;
    const what = describeCollection(this.#collection);
    const message =
      status === 403
        ? `may not ${verb} ${what}: allow list and watch on ${RESOURCES[kind].plural} to the ` +
          "syncer's ServiceAccount (see deploy/); it then goes on by itself"
        : `cannot ${verb} ${what}; trying again`;
    this.#logger.warn({ verb, resource: resourceName(kind), namespace, name, error }, message);
  }
}
