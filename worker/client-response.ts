import { textOfWire } from './header-text.ts';
import { connectionTokens } from './headers.ts';
import { isHopByHopHeader } from './http1/header-names.ts';
import type { Header, UpstreamResponse } from './http1/message.ts';
import type { RequestId } from './request-id.ts';

/** The upstream's answer as the client gets it: status, headers and body, streamed. */
export function clientResponse(upstream: UpstreamResponse, requestId: RequestId): Response {
  return new Response(upstream.body, {
    status: upstream.status,
    headers: clientHeaders(upstream.headers, requestId),
    // An encoded body passes as it is: otherwise workerd would encode it once more.
    encodeBody: 'manual',
  });
}

/** The upstream's headers for the client: all but those about the connection between us. */
export function clientHeaders(upstream: readonly Header[], requestId: RequestId): Headers {
  const connection = upstream.flatMap(([name, value]) =>
    name.toLowerCase() === 'connection' ? [value] : [],
  );
  const named = connectionTokens(connection.length > 0 ? connection.join(',') : null);
  const headers = new Headers();
  for (const [name, value] of upstream) {
    const lower = name.toLowerCase();
    if (isHopByHopHeader(lower) || named?.has(lower)) continue;
    headers.append(name, textOfWire(value));
  }
  headers.set('x-request-id', requestId.id);
  return headers;
}
