import type { IncomingMessage } from 'node:http';
import { Http2ServerRequest } from 'node:http2';
import type { ClientConnection } from './client-connection.ts';

/** A request of a client, whichever version of HTTP it speaks. */
export type ClientRequest = IncomingMessage | Http2ServerRequest;

/** A client's request as the worker gets it. */
export interface WorkerRequest {
  /** Absolute form. */
  readonly path: string;
  readonly headers: string[];
}

/**
 * Headers that Cloudflare sets and a client cannot: here they are the front's to set. workerd reads
 * `request.cf` from one of those that begin with `mf-`.
 */
function isEdgeHeader(name: string): boolean {
  return (
    name.startsWith('cf-') ||
    name.startsWith('mf-') ||
    name === 'cdn-loop' ||
    name === 'true-client-ip'
  );
}

/** Headers about the connection to one of our sides, which Node writes itself for the other. */
export const OF_THE_CONNECTION = new Set(['keep-alive', 'proxy-connection', 'trailer']);

/** Null when there is no usable Host (RFC 9112 section 3.2, RFC 9113 section 8.3.1: 400). */
export function workerRequest(
  request: ClientRequest,
  connection: ClientConnection,
): WorkerRequest | null {
  const url = request.url ?? '';
  // The absolute form overrides Host; Cloudflare answers such requests for hosts of the zone alike.
  const absolute = /^https?:\/\/([^/?#]+)(.*)$/i.exec(url);
  const host = hostOf(request);
  if (host === null) return null;
  const authority = absolute?.[1] ?? host;
  if (!/^[A-Za-z0-9.\-_:[\]]+$/.test(authority)) return null;
  const rest = absolute ? absolute[2] || '/' : url;
  if (!rest.startsWith('/') && !rest.startsWith('?')) return null;
  const path = `${connection.scheme}://${authority}${rest}`;
  return { path, headers: headersFor(request, authority, connection) };
}

/** The one that there is; of HTTP/2, where both may be there, they have to agree. */
function hostOf(request: ClientRequest): string | null {
  const hosts = pairs(request.rawHeaders).flatMap(([name, value]) =>
    /^(host|:authority)$/i.test(name) ? [value] : [],
  );
  const [host = null, ...others] = hosts;
  const isSecond = request instanceof Http2ServerRequest && others.length === 1;
  return others.length === 0 || (isSecond && others[0] === host) ? host : null;
}

function headersFor(
  request: ClientRequest,
  authority: string,
  connection: ClientConnection,
): string[] {
  const headers: string[] = [];
  for (const [name, value] of pairs(request.rawHeaders)) {
    const lower = name.toLowerCase();
    if (isEdgeHeader(lower) || OF_THE_CONNECTION.has(lower) || name.startsWith(':')) continue;
    if (lower === 'host' || lower === 'cookie' || lower === 'upgrade') continue;
    headers.push(name, value);
  }
  // Node has joined several as RFC 6265 section 5.4 wants it; the worker would get them as a list.
  const { cookie, upgrade } = request.headers;
  if (cookie !== undefined) headers.push('Cookie', cookie);
  if (upgrade !== undefined && isWebSocket(request)) headers.push('Upgrade', upgrade);
  headers.push(...framing(request));
  headers.push('Host', authority, 'CF-Connecting-IP', connection.address);
  headers.push('MF-CF-Blob', connection.cf);
  return headers;
}

/** What says where the body ends, if the client's own headers do not. */
function framing(request: ClientRequest): readonly string[] {
  const { headers, method = '' } = request;
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    return [];
  }
  if (hasBody(request)) return ['Transfer-Encoding', 'chunked'];
  // Otherwise Node would send a chunked body of no chunks.
  return METHODS_WITHOUT_CONTENT.has(method) ? [] : ['Content-Length', '0'];
}

/** The only upgrade that there is; others are ignored, as RFC 9110 section 7.8 allows. */
export function isWebSocket({ method, headers }: ClientRequest): boolean {
  const names = (value: string | undefined, member: string) =>
    (value ?? '').split(',').some((it) => it.trim().toLowerCase() === member);
  return (
    method === 'GET' && names(headers.connection, 'upgrade') && names(headers.upgrade, 'websocket')
  );
}

const METHODS_WITHOUT_CONTENT = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/**
 * RFC 9112 section 6.3: a request without either header has none. In HTTP/2 its frames say so
 * (RFC 9113 section 8.1).
 */
export function hasBody(request: ClientRequest): boolean {
  if (request instanceof Http2ServerRequest) return !request.stream.endAfterHeaders;
  const { headers } = request;
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

/** Names and values, as they came. */
export function pairs(rawHeaders: readonly string[]): readonly (readonly [string, string])[] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    found.push([rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '']);
  }
  return found;
}
