import { APIError } from 'cloudflare/core/error';

/** One kind of call, as far as people need to know it when it fails. */
export interface Operation {
  /** For example `KV bulk write`. */
  readonly name: string;
  /** The token's permission that it takes, in the words of Cloudflare's dashboard. */
  readonly permission:
    | 'Workers KV Storage Edit'
    | 'D1 Edit'
    | 'Zone Read'
    | 'Zone SSL and Certificates Edit'
    | 'Zone Settings Edit'
    | 'Account SSL and Certificates Edit'
    | 'Workers Scripts Read';
  /** Which ids are meant, for example `namespace 0f2a… of account 0123…`. */
  readonly target: string;
}

/** A call to Cloudflare that failed: what it was, what was answered and the way out. */
export class CloudflareError extends Error {
  override readonly name = 'CloudflareError';
  /** HTTP status, or `null` when there was no answer. */
  readonly status: number | null;
  /** Whether the same call may well succeed a little later. */
  readonly isTransient: boolean;
  /** What `retry-after` asks for, or `null`. */
  readonly retryAfterMs: number | null;
  /** What Cloudflare said, without our advice; empty when there was no answer. */
  readonly answer: string;

  constructor(
    message: string,
    {
      status = null,
      isTransient = false,
      retryAfterMs = null,
      answer = '',
    }: {
      status?: number | null;
      isTransient?: boolean;
      retryAfterMs?: number | null;
      answer?: string;
    } = {},
  ) {
    super(message);
    this.answer = answer;
    this.status = status;
    this.isTransient = isTransient;
    this.retryAfterMs = retryAfterMs;
  }
}

const TEXT_LENGTH_MAX = 300;
/** Longer waits are not believed: the API's own blocks last five minutes. */
const RETRY_AFTER_MS_MAX = 10 * 60_000;
/** Cloudflare's codes for an `Authorization` header that it cannot read; they come with 400. */
const MALFORMED_TOKEN_CODES = new Set([6003, 6111, 9106]);

/** What a thrown value of the SDK means. The SDK's error itself is dropped: it holds headers. */
export function toCloudflareError(error: unknown, operation: Operation): CloudflareError {
  if (error instanceof CloudflareError) return error;
  if (!(error instanceof APIError) || typeof error.status !== 'number') {
    const text = `${operation.name}: no answer from Cloudflare (${withoutKeys(causes(error))})`;
    return new CloudflareError(text, { isTransient: true });
  }
  const { status } = error;
  const answer = answered(error);
  const text = `${operation.name}: ${answer}${advice(error, status, operation)}`;
  return new CloudflareError(text, {
    answer,
    status,
    isTransient: status === 408 || status === 429 || status >= 500,
    retryAfterMs: retryAfterMs(error.headers),
  });
}

function advice(error: APIError, status: number, { permission, target }: Operation): string {
  if (status === 401 || error.errors.some(({ code }) => MALFORMED_TOKEN_CODES.has(Number(code)))) {
    return `; the API token is not valid: it has to be an active one with "${permission}" (${target})`;
  }
  if (status === 403) return `; the API token lacks the permission "${permission}" (${target})`;
  if (status === 404) return `; there is no such ${target}, or the API token must not see it`;
  if (/no such (table|column)/.test(error.message)) {
    return `; "wrangler d1 migrations apply" was not run (${target})`;
  }
  return '';
}

function answered(error: APIError): string {
  const texts = error.errors.map(({ code, message }) => `${message} (code ${code})`);
  const said = texts.length > 0 ? `${error.status} ${texts.join('; ')}` : error.message;
  const text = withoutKeys(said);
  return text.length > TEXT_LENGTH_MAX ? `${text.slice(0, TEXT_LENGTH_MAX)}…` : text;
}

/** An upload has a private key in its body, and an answer may quote what it was sent (law 8). */
function withoutKeys(text: string): string {
  return text.replaceAll(
    /-----BEGIN [^-]*PRIVATE KEY-----[\s\S]*?(-----END [^-]*-----|$)/g,
    '[redacted]',
  );
}

/** The message of an error and of what caused it; `fetch failed` alone says nothing. */
function causes(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error && texts.length < 4; at = at.cause) {
    texts.push(at.message);
  }
  return texts.join(': ') || 'unknown error';
}

/** RFC 9110 section 10.2.3: seconds or a date; the answer's own `date` saves us a clock. */
function retryAfterMs(headers: Headers | undefined): number | null {
  const text = headers?.get('retry-after');
  if (!text) return null;
  const seconds = Number(text);
  const ms = Number.isNaN(seconds)
    ? Date.parse(text) - Date.parse(headers?.get('date') ?? '')
    : seconds * 1000;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX);
}
