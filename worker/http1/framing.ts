import type { ResponseHead } from './response-head.ts';

/** How a receiver knows where the content of an answer ends (RFC 9112 section 6.3). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

/** Method and status come first: an answer to HEAD, a 204 and a 304 end with their head. */
export function responseFraming(method: string, head: ResponseHead): Framing {
  if (method === 'HEAD' || head.status === 204 || head.status === 304) return { kind: 'none' };
  if (head.isChunked) return { kind: 'chunked' };
  if (head.contentLength === 0) return { kind: 'none' };
  if (head.contentLength !== null) return { kind: 'length', length: head.contentLength };
  return { kind: 'close' };
}
