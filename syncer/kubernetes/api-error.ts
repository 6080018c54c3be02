import * as v from 'valibot';

const status = v.object({
  code: v.nullish(v.number(), 0),
  reason: v.nullish(v.string(), ''),
  message: v.nullish(v.string(), ''),
});

/** The API server's refusal, with the fields of the Kubernetes `Status` it sent. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly reason: string;
  /** From `retry-after`; zero without. */
  readonly retryAfterMs: number;

  constructor(what: string, code: number, reason: string, message: string, retryAfterMs = 0) {
    super([`${what}: ${code}`, reason, message].filter(Boolean).join(' '));
    this.status = code;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }

  /** From an answer's body, or from the object of an ERROR event of a watch. */
  static fromStatus(what: string, code: number, body: unknown, retryAfterMs = 0): ApiError {
    const parsed = v.safeParse(status, body);
    if (!parsed.success) return new ApiError(what, code, '', '', retryAfterMs);
    const { reason, message } = parsed.output;
    // A message may quote at length what was asked.
    const short = message.length > 300 ? `${message.slice(0, 300)}...` : message;
    return new ApiError(what, parsed.output.code || code, reason, short, retryAfterMs);
  }

  /** The resourceVersion or the continue token is older than what the server keeps. */
  get isExpired(): boolean {
    return this.status === 410;
  }
}

/** One line about anything that was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describeError).join('; ');
  if (!(error instanceof Error)) return String(error);
  // What Node says when a connection ends in the middle of an answer.
  return error.message === 'aborted' ? 'the connection broke' : error.message;
}
