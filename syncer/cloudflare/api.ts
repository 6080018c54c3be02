import { BaseHostnameAssociations } from 'cloudflare/resources/certificate-authorities/hostname-associations';
import { BaseCustomCertificates } from 'cloudflare/resources/custom-certificates/custom-certificates';
import { BaseDatabase } from 'cloudflare/resources/d1/database/database';
import { Namespaces } from 'cloudflare/resources/kv/namespaces/namespaces';
import { BaseMTLSCertificates } from 'cloudflare/resources/mtls-certificates/mtls-certificates';
import { BaseCertificatePacks } from 'cloudflare/resources/ssl/certificate-packs/certificate-packs';
import { BaseDomains } from 'cloudflare/resources/workers/domains';
import { BaseSettings } from 'cloudflare/resources/zones/settings';
import { BaseZones } from 'cloudflare/resources/zones/zones';
import { createClient } from 'cloudflare/tree-shakable';
import type { Clock } from '../clock.ts';
import type { SecretText } from '../secret-text.ts';
import { type Budget, CallBudget, type CallCounts } from './budget.ts';
import { type CloudflareError, type Operation, toCloudflareError } from './error.ts';

export const CLOUDFLARE_BASE_URL = 'https://api.cloudflare.com/client/v4';

const ATTEMPTS_MAX = 5;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 8_000;
/** A whole call with its body; 25 MB at 4 Mbit/s. */
const TIMEOUT_MS = 60_000;

export interface CloudflareApiOptions {
  /** Default {@link CLOUDFLARE_BASE_URL}; `causeway dev` has its own API. */
  readonly baseUrl?: string;
  readonly accountId: string;
  readonly token: SecretText;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Ends calls and waits when the process has to. */
  readonly signal: AbortSignal;
  /** Asked right before each call; throws when calls must not be made any more. */
  readonly permit?: () => void;
  /** Default: one of its own, with 1,100 calls in five minutes. */
  readonly budget?: Budget;
}

type Client = ReturnType<typeof newClient>;

/**
 * The account's API: every call is counted against the budget, retried while that makes sense, and
 * fails with a message that names the way out. The token is known to nothing but the function that
 * sends requests.
 */
export class CloudflareApi {
  readonly accountId: string;
  readonly #client: Client;
  readonly #budget: Budget;
  readonly #permit: () => void;
  readonly #random: () => number;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;

  constructor(options: CloudflareApiOptions) {
    this.accountId = options.accountId;
    this.#budget = options.budget ?? new CallBudget(options.clock);
    this.#client = newClient(options, this.#budget);
    this.#permit = options.permit ?? (() => {});
    this.#random = options.random;
    this.#clock = options.clock;
    this.#signal = options.signal;
  }

  get counts(): CallCounts {
    return this.#budget.counts;
  }

  /**
   * Runs `request`, again and again while the failure is transient. What it does must come to the
   * same done twice, since an answer can be lost after the work was done; what does not is given one
   * attempt.
   *
   * @throws CloudflareError, or whatever `permit` throws or the signal's reason is
   */
  async call<T>(
    operation: Operation,
    request: (client: Client) => PromiseLike<T>,
    attemptsMax: number = ATTEMPTS_MAX,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      await this.#budget.take(this.#signal);
      this.#permit();
      try {
        return await request(this.#client);
      } catch (thrown) {
        this.#signal.throwIfAborted();
        const error = toCloudflareError(thrown, operation);
        if (!error.isTransient || attempt >= attemptsMax) {
          this.#budget.countFailure();
          if (error.retryAfterMs !== null) this.#budget.pause(error.retryAfterMs);
          throw error;
        }
        this.#budget.countRetry();
        await this.#backOff(attempt, error);
      }
    }
  }

  /** Waits before attempt `attempt + 1`. */
  async backOff(attempt: number): Promise<void> {
    const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** attempt);
    await this.#clock.sleep(ceiling * (0.5 + this.#random() / 2), this.#signal);
    this.#signal.throwIfAborted();
  }

  async #backOff(attempt: number, error: CloudflareError): Promise<void> {
    // Whoever is told to wait and calls all the same is blocked for longer: so all calls wait.
    if (error.retryAfterMs !== null) this.#budget.pause(error.retryAfterMs);
    else await this.backOff(attempt);
  }
}

function newClient({ baseUrl, token, signal }: CloudflareApiOptions, budget: Budget) {
  return createClient({
    resources: [
      Namespaces,
      BaseDatabase,
      BaseZones,
      BaseSettings,
      BaseCustomCertificates,
      BaseCertificatePacks,
      BaseDomains,
      BaseMTLSCertificates,
      BaseHostnameAssociations,
    ],
    baseURL: baseUrl ?? CLOUDFLARE_BASE_URL,
    // Stands in for the real one, so that no log line or error of the SDK can have it.
    apiToken: 'redacted',
    // Else the SDK takes these from the environment and sends them as well.
    apiKey: null,
    apiEmail: null,
    userServiceKey: null,
    maxRetries: 0,
    timeout: TIMEOUT_MS,
    logLevel: 'off',
    fetch: (url, init) => send(url, init ?? {}, { token, signal, budget }),
  });
}

/**
 * Reads the answer whole, so that the SDK's timeout covers the body too and an answer that breaks
 * off counts as none.
 */
async function send(
  url: string | URL | Request,
  init: RequestInit,
  { token, signal, budget }: { token: SecretText; signal: AbortSignal; budget: Budget },
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${token.reveal()}`);
  const ends = AbortSignal.any(init.signal ? [init.signal, signal] : [signal]);
  const request: RequestInit = { ...init, headers, redirect: 'manual' };
  const { answer, body } = await fetchWhole(url, request, ends).catch((error) => {
    budget.countAnswer('none');
    throw error;
  });
  budget.countAnswer(answer.status);
  if (answer.ok && !isSuccess(body)) {
    // A proxy's login page, for one: taken for a success it would lose what was to be written.
    throw new Error(`${answer.status} with something that is no answer of the API`);
  }
  const { status, statusText } = answer;
  return new Response(body || null, { status, statusText, headers: answer.headers });
}

/**
 * Fetches with the body, until `ends` aborts. Undici must not hear of that once the answer begins:
 * when a part of the body arrives at that moment it fails with an unhandled rejection, which would
 * end the process. The rest of such an answer is read and dropped.
 */
async function fetchWhole(url: string | URL | Request, init: RequestInit, ends: AbortSignal) {
  ends.throwIfAborted();
  const waiting = new AbortController();
  const ended = Promise.withResolvers<never>();
  const end = () => {
    waiting.abort(ends.reason);
    ended.reject(ends.reason);
  };
  ends.addEventListener('abort', end, { once: true });
  const whole = async () => {
    const answer = await fetch(url, { ...init, signal: waiting.signal });
    ends.removeEventListener('abort', end);
    ends.addEventListener('abort', () => ended.reject(ends.reason), { once: true });
    return { answer, body: await answer.text() };
  };
  try {
    return await Promise.race([whole(), ended.promise]);
  } finally {
    ends.removeEventListener('abort', end);
  }
}

function isSuccess(body: string): boolean {
  try {
    return (JSON.parse(body) as { success?: unknown } | null)?.success === true;
  } catch {
    return false;
  }
}
