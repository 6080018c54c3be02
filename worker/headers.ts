import { wireValue } from './header-text.ts';
import { isReservedHeader } from './http1/header-names.ts';
import type { Header } from './http1/message.ts';
import { InvalidRequestError } from './http1/request-error.ts';
import type { RequestId } from './request-id.ts';
import type { RequestUrl } from './request-url.ts';

/**
 * What only we may say to an upstream, along with `X-Forwarded-*` and `SSL-Client-*`. A client's
 * copy is dropped, whatever it holds: an upstream that trusts its gateway would otherwise trust
 * everybody. `Forwarded` (RFC 7239) says the same things in another way, and `Proxy` becomes a CGI
 * program's `HTTP_PROXY`.
 */
const OURS = new Set([
  'forwarded',
  'proxy',
  'proxy-authorization',
  'traceparent',
  'tracestate',
  'x-real-ip',
  'x-request-id',
]);

export interface ClientFacts {
  readonly url: RequestUrl;
  readonly requestId: RequestId;
  /** What the upstream is told of the client's certificate. */
  readonly certificate?: readonly Header[];
}

/**
 * The headers of the request to the upstream, without those the codec writes.
 * @throws InvalidRequestError for a value of which the runtime has lost bytes
 */
export function upstreamHeaders(
  client: Headers,
  { url, requestId, certificate = [] }: ClientFacts,
): Header[] {
  const named = connectionTokens(client.get('connection'));
  const headers: Header[] = [];
  for (const [name, value] of client) {
    if (isOurs(name) || named?.has(name)) continue;
    const wire = wireValue(value);
    if (wire === null) throw new InvalidRequestError(`the header ${name} is not UTF-8`);
    headers.push([name, wire]);
  }
  // Set by Cloudflare in production and by the front in the local gateway, never by the client.
  const address = client.get('cf-connecting-ip');
  if (address !== null) {
    headers.push(['x-forwarded-for', address], ['x-real-ip', address]);
  }
  headers.push(
    ['x-forwarded-host', url.authority],
    ['x-forwarded-port', portOf(url)],
    ['x-forwarded-proto', url.scheme],
    ['x-request-id', requestId.id],
    ['traceparent', requestId.traceparent],
    ...certificate,
  );
  return headers;
}

/**
 * A CGI program and its heirs (WSGI, Rack, PHP) read `X_Forwarded_For` as `X-Forwarded-For`, so
 * what a client may not say it may not say with underscores either.
 */
function isOurs(name: string): boolean {
  const dashed = name.includes('_') ? name.replaceAll('_', '-') : name;
  if (dashed !== name && dashed.startsWith('cf-')) return true;
  if (dashed.startsWith('x-forwarded-') || dashed.startsWith('ssl-client-')) return true;
  return isReservedHeader(dashed) || OURS.has(dashed);
}

/** The header names that `Connection` declares to be for this hop only (RFC 9110 section 7.6.1). */
export function connectionTokens(value: string | null): ReadonlySet<string> | null {
  if (value === null) return null;
  const tokens = value.split(',').map((token) => token.trim().toLowerCase());
  return new Set(tokens.filter((token) => !END_TO_END.has(token)));
}

/** Naming one of these in `Connection` is an attempt to strip what the upstream relies on. */
const END_TO_END = new Set(['', 'authorization', 'cookie', 'host', 'cf-connecting-ip']);

function portOf({ authority, scheme }: RequestUrl): string {
  return /:(\d+)$/.exec(authority)?.[1] ?? (scheme === 'https' ? '443' : '80');
}
