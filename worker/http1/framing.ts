import type { ResponseHead } from './response-head.ts';

/** How a receiver knows where the content of an answer ends (RFC 9112 section 6.3). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

/**
 * Method and status come first: an answer to HEAD, a 204 and a 304 end with their head. What comes
 * after a 205, which must have no content either (RFC 9110 section 15.3.6), is left unread.
 */
export function responseFraming(method: string, head: ResponseHead): Framing {
  if (method === 'HEAD' || NULL_BODY_STATUSES.has(head.status)) return { kind: 'none' };
  if (head.isChunked) return { kind: 'chunked' };
  if (head.contentLength === 0) return { kind: 'none' };
  if (head.contentLength !== null) return { kind: 'length', length: head.contentLength };
  return { kind: 'close' };
}

/** Of the Fetch standard, as far as they get here: a `Response` refuses them a body. */
const NULL_BODY_STATUSES: ReadonlySet<number> = new Set([204, 205, 304]);
