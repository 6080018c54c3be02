import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/** A client's request as the worker gets it. */
export interface WorkerRequest {
  /** Absolute form. */
  readonly path: string;
  readonly headers: string[];
}

/** Headers that Cloudflare sets and a client cannot: here they are the front's to set. */
function isEdgeHeader(name: string): boolean {
  return name.startsWith('cf-') || name === 'cdn-loop' || name === 'true-client-ip';
}

/** Headers about the connection to one of our sides, which Node writes itself for the other. */
export const OF_THE_CONNECTION = new Set(['keep-alive', 'proxy-connection', 'trailer']);

/** Null when there is no usable Host (RFC 9112 section 3.2: 400). */
export function workerRequest(request: IncomingMessage): WorkerRequest | null {
  const hosts = request.headersDistinct.host ?? [];
  const [host = ''] = hosts;
  const url = request.url ?? '';
  // The absolute form overrides Host; Cloudflare answers such requests for hosts of the zone alike.
  const absolute = /^https?:\/\/([^/?#]+)(.*)$/i.exec(url);
  const authority = absolute?.[1] ?? host;
  if (hosts.length !== 1 || !/^[A-Za-z0-9.\-_:[\]]+$/.test(authority)) return null;
  const rest = absolute ? absolute[2] || '/' : url;
  if (!rest.startsWith('/') && !rest.startsWith('?')) return null;
  return { path: `http://${authority}${rest}`, headers: headersFor(request, authority) };
}

function headersFor(request: IncomingMessage, authority: string): string[] {
  const headers: string[] = [];
  for (const [name, value] of pairs(request.rawHeaders)) {
    const lower = name.toLowerCase();
    if (isEdgeHeader(lower) || OF_THE_CONNECTION.has(lower)) continue;
    if (lower === 'host' || lower === 'cookie' || lower === 'upgrade') continue;
    headers.push(name, value);
  }
  // Node has joined several as RFC 6265 section 5.4 wants it; the worker would get them as a list.
  const { cookie, upgrade } = request.headers;
  if (cookie !== undefined) headers.push('Cookie', cookie);
  if (upgrade !== undefined && isWebSocket(request)) headers.push('Upgrade', upgrade);
  // Otherwise Node would send a chunked body of no chunks.
  if (!hasBody(request) && !METHODS_WITHOUT_CONTENT.has(request.method ?? '')) {
    headers.push('Content-Length', '0');
  }
  headers.push('Host', authority, 'CF-Connecting-IP', clientAddress(request.socket));
  return headers;
}

/** The only upgrade that there is; others are ignored, as RFC 9110 section 7.8 allows. */
export function isWebSocket({ method, headers }: IncomingMessage): boolean {
  const names = (value: string | undefined, member: string) =>
    (value ?? '').split(',').some((it) => it.trim().toLowerCase() === member);
  return (
    method === 'GET' && names(headers.connection, 'upgrade') && names(headers.upgrade, 'websocket')
  );
}

const METHODS_WITHOUT_CONTENT = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/** RFC 9112 section 6.3: a request without either header has none. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

function clientAddress(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
}

/** Names and values, as they came. */
export function pairs(rawHeaders: readonly string[]): readonly (readonly [string, string])[] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    found.push([rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '']);
  }
  return found;
}
