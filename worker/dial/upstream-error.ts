/**
 * - `connect`: no connection; nothing was sent.
 * - `timeout`: the upstream took the request, or some of it, and did not answer in time.
 * - `reset`: the connection ended before an answer had begun or was whole.
 * - `protocol`: an answer that is not HTTP/1.1, or one that could be read in two ways.
 */
export type UpstreamErrorKind = 'connect' | 'timeout' | 'reset' | 'protocol';

/**
 * An upstream that failed us. The message names addresses and causes and is for the log only: the
 * client gets a status and a request id.
 */
export class UpstreamError extends Error {
  readonly kind: UpstreamErrorKind;
  /** Whether any byte of the request may have reached the upstream, for decisions to try again. */
  readonly requestSent: boolean;

  constructor(
    kind: UpstreamErrorKind,
    message: string,
    options: { readonly requestSent: boolean; readonly cause?: unknown },
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'UpstreamError';
    this.kind = kind;
    this.requestSent = options.requestSent;
  }
}

/**
 * The connection was made and ended before a byte of an answer. Whether the request was acted on is
 * not known: only one that may be repeated (RFC 9110 section 9.2.2) may be sent again.
 */
export class UnansweredError extends UpstreamError {
  constructor(message: string, cause: unknown) {
    super('reset', message, { requestSent: true, cause });
    this.name = 'UnansweredError';
  }
}

/**
 * - `address`: our own rules forbid this address; no other attempt will fare better.
 * - `timeout`: no connection within the time given.
 * - `refused`: the network or the platform said no.
 */
export type DialFailure = 'address' | 'timeout' | 'refused';

/** No connection was made and nothing was sent: another endpoint may be tried. */
export class DialError extends UpstreamError {
  readonly failure: DialFailure;

  constructor(failure: DialFailure, message: string, cause?: unknown) {
    super('connect', message, { requestSent: false, cause });
    this.name = 'DialError';
    this.failure = failure;
  }
}
