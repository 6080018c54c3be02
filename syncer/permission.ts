import { type ApiError, describeError } from './kubernetes/api-error.ts';
import type { Logger } from './log.ts';

/** Tells the log once that a permission is missing, not at each try, and when it is there. */
export class Permission {
  readonly #need: string;
  readonly #log: Logger;
  /** The namespace in which it was first missing. */
  #missingIn: string | null = null;

  /** @param need as in `patch on ingresses.networking.k8s.io/status` */
  constructor(need: string, log: Logger) {
    this.#need = need;
    this.#log = log;
  }

  refused(namespace: string, error: ApiError): void {
    if (this.#missingIn !== null) return;
    this.#missingIn = namespace;
    this.#log.warn(
      { namespace, error: describeError(error) },
      `may not write: allow ${this.#need} to the syncer's ServiceAccount (see deploy/); routing goes on without`,
    );
  }

  granted(namespace: string): void {
    if (this.#missingIn !== namespace) return;
    this.#missingIn = null;
    this.#log.info({ namespace }, `has ${this.#need} again`);
  }
}
