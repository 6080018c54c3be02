import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, ask, type Question } from './ask.ts';

export interface TrafficOptions {
  port: number;
  question: Question;
  /** Says what is wrong with an answer, or nothing. */
  check: (answer: Answer) => string | null;
  /** How many clients ask at the same time. Default 2. */
  clients?: number;
}

/** No test needs more; a loop that runs on is a mistake, and says so. */
const REQUESTS_MAX = 20_000;
const DURATION_MS_MAX = 180_000;
/** The machine has other things to do too. */
const PAUSE_MS = 10;

/** Requests in the background, each one checked. Nothing is asked twice: a failure is a failure. */
export class Traffic {
  readonly failures: string[] = [];
  #count = 0;
  #isStopping = false;
  readonly #clients: Promise<void>[] = [];
  readonly #options: TrafficOptions;

  private constructor(options: TrafficOptions) {
    this.#options = options;
  }

  static start(options: TrafficOptions): Traffic {
    const traffic = new Traffic(options);
    const { clients = 2 } = options;
    for (let n = 0; n < clients; n++) traffic.#clients.push(traffic.#run());
    return traffic;
  }

  /** How many requests were answered so far, well or not. */
  get count(): number {
    return this.#count;
  }

  /** Ends the requests under way and returns how many there were in all. Idempotent. */
  async stop(): Promise<number> {
    this.#isStopping = true;
    await Promise.all(this.#clients);
    return this.#count;
  }

  async #run(): Promise<void> {
    const { port, question, check } = this.#options;
    const startedMs = performance.now();
    while (!this.#isStopping) {
      const elapsedMs = performance.now() - startedMs;
      if (this.#count >= REQUESTS_MAX || elapsedMs > DURATION_MS_MAX) {
        this.failures.push(`still running after ${this.#count} requests`);
        return;
      }
      const wrong = await ask(port, question).then(check, String);
      this.#count++;
      if (wrong !== null) this.failures.push(`request ${this.#count}: ${wrong}`);
      await delay(PAUSE_MS);
    }
  }
}

/** A check: this Service answered, with 200. */
export function answeredBy(service: string): (answer: Answer) => string | null {
  return answeredByOneOf(service);
}

/** A check: one of these Services answered, with 200. */
export function answeredByOneOf(...services: string[]): (answer: Answer) => string | null {
  return ({ status, from, text }) =>
    status === 200 && services.includes(from)
      ? null
      : `${status} ${from}, not ${services}: ${text}`;
}

/** A check: whoever answered was this Service, or the edge said that nobody can. */
export function neverAnotherThan(
  service: string,
  ownStatuses: readonly number[],
): (answer: Answer) => string | null {
  const check = answeredBy(service);
  return (answer) =>
    answer.from === 'edge' && ownStatuses.includes(answer.status) ? null : check(answer);
}
