import type { RequestId } from './request-id.ts';

/** Why we answer ourselves. For our log; the client sees the status and the request id. */
export type AnswerReason =
  | 'BadRequest'
  | 'ClientRefused'
  | 'HttpsOnly'
  | 'Misdirected'
  | 'NoRoute'
  | 'PayloadTooLarge'
  | 'UpstreamFailed'
  | 'UpstreamTimeout'
  | 'NoEndpoints'
  | 'SnapshotUnavailable'
  | 'InternalError';

const STATUS = {
  HttpsOnly: [308, 'Permanent Redirect'],
  BadRequest: [400, 'Bad Request'],
  ClientRefused: [403, 'Forbidden'],
  NoRoute: [404, 'Not Found'],
  PayloadTooLarge: [413, 'Content Too Large'],
  Misdirected: [421, 'Misdirected Request'],
  InternalError: [500, 'Internal Server Error'],
  UpstreamFailed: [502, 'Bad Gateway'],
  NoEndpoints: [503, 'Service Unavailable'],
  SnapshotUnavailable: [503, 'Service Unavailable'],
  UpstreamTimeout: [504, 'Gateway Timeout'],
} as const satisfies Record<AnswerReason, readonly [number, string]>;

/** A short answer of our own in the form the client asks for, without a word about the cause. */
export function answer(reason: AnswerReason, request: Request, requestId: RequestId): Response {
  const [status, statusText] = STATUS[reason];
  const { type, body } = render(request.headers.get('accept') ?? '', status, statusText, requestId);
  const headers = {
    'content-type': type,
    'cache-control': 'no-store',
    'x-request-id': requestId.id,
    'x-content-type-options': 'nosniff',
  };
  return new Response(request.method === 'HEAD' ? null : body, { status, statusText, headers });
}

/**
 * Sends the client to the same URL with https, method and body included (RFC 9110 section 15.4.9).
 * Not to be stored, as all that we say: what an Ingress asks for can be taken back.
 */
export function redirect(location: string, request: Request, requestId: RequestId): Response {
  const response = answer('HttpsOnly', request, requestId);
  response.headers.set('location', location);
  return response;
}

function render(accept: string, status: number, text: string, { id }: RequestId) {
  // Status texts and hexadecimal ids are ours: nothing of the request is written back.
  if (accept.includes('text/html')) {
    const title = `${status} ${text}`;
    return {
      type: 'text/html; charset=utf-8',
      body: `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>Request id: <code>${id}</code></p></html>\n`,
    };
  }
  if (accept.includes('json')) {
    const body = `${JSON.stringify({ status, error: text, requestId: id })}\n`;
    return { type: 'application/json; charset=utf-8', body };
  }
  return { type: 'text/plain; charset=utf-8', body: `${status} ${text}\nrequest id: ${id}\n` };
}
