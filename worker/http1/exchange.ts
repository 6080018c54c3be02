import type { Connection } from '../dial/dialer.ts';
import type { UpstreamRequest, UpstreamResponse } from './message.ts';

export interface ExchangeOptions {
  /**
   * How long the upstream may take neither a byte of the request nor answer: counted while a write
   * waits and from the last byte of the request, not while the client is the slow one.
   */
  readonly responseTimeoutMs: number;
}

/**
 * Sends one request and resolves with the head of its answer. Owns the connection: it is closed
 * once the answer's body has ended, failed or been cancelled, and before a rejection.
 *
 * Rejects with `UpstreamError`; with `InvalidRequestError` (nothing was sent) when the request
 * cannot be written as HTTP/1.1; with `RequestBodyError` when the client's body failed first.
 */
export async function exchange(
  connection: Connection,
  request: UpstreamRequest,
  options: ExchangeOptions,
): Promise<UpstreamResponse> {
  throw new Error(`not yet: ${connection}, ${request.method}, ${options.responseTimeoutMs}`);
}
