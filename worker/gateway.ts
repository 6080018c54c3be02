import { normaliseHost } from '../snapshot/hostname.ts';
import type { DialerName } from '../snapshot/types.ts';
import { admin } from './admin.ts';
import { type AnswerReason, answer } from './answers.ts';
import { Balancer } from './balance.ts';
import { clientResponse } from './client-response.ts';
import type { Dialer } from './dial/dialer.ts';
import { type ConnectFunction, socketDialer, vpcDialer } from './dial/socket.ts';
import { UpstreamError } from './dial/upstream-error.ts';
import { type Env, readSettings, type Settings } from './env.ts';
import { forward } from './forward.ts';
import { upstreamHeaders } from './headers.ts';
import type { UpstreamRequest, UpstreamResponse } from './http1/message.ts';
import { InvalidRequestError, RequestBodyError } from './http1/request-error.ts';
import { newRequestId, type RequestId } from './request-id.ts';
import { parseRequestUrl, type RequestUrl } from './request-url.ts';
import { matchPath, type Target } from './routing-table.ts';
import { SnapshotCache } from './snapshot-cache.ts';
import { SnapshotStore } from './snapshot-store.ts';
import { isWebSocketRequest } from './websocket/handshake.ts';
import { proxyWebSocket } from './websocket/proxy.ts';

/** Everything an isolate keeps between requests. Made by the first one, which brings the bindings. */
export interface Gateway {
  readonly env: Env;
  readonly settings: Settings;
  readonly store: SnapshotStore;
  readonly cache: SnapshotCache;
  readonly balancer: Balancer;
  readonly dialers: Readonly<Record<DialerName, Dialer>>;
}

export function createGateway(env: Env, connect: ConnectFunction): Gateway {
  const settings = readSettings(env);
  const store = new SnapshotStore(env, settings);
  return {
    env,
    settings,
    store,
    cache: new SnapshotCache(store, settings.refreshMs),
    balancer: new Balancer(),
    dialers: {
      socket: socketDialer(connect, settings.addressPolicy),
      vpc: vpcDialer(env.VPC ?? null),
    },
  };
}

/** One request: match, then forward or answer. Never rejects. */
export async function handle(
  gateway: Gateway,
  request: Request,
  ctx: ExecutionContext,
): Promise<Response> {
  const requestId = newRequestId();
  const url = parseRequestUrl(request.url);
  if (!url) return answer('BadRequest', request, requestId);
  const host = normaliseHost(url.authority);
  try {
    if (host === gateway.settings.admin?.host) {
      return await admin.fetch(request, { gateway }, ctx);
    }
    refreshInBackground(gateway, ctx);
    const found = gateway.cache.find(host, Date.now());
    const lookup = found instanceof Promise ? await available(found) : found;
    const match = lookup.host ? matchPath(lookup.host, url.path) : null;
    if (match?.kind !== 'route') return answer('NoRoute', request, requestId);
    const { upstream } = match.target;
    if (upstream.endpoints.length === 0) return answer('NoEndpoints', request, requestId);
    return await serve(gateway, request, url, match.target, requestId, ctx);
  } catch (error) {
    const reason = reasonOf(error);
    log(reason, error, host, url.path, requestId);
    return answer(reason, request, requestId);
  }
}

/** There is nothing to serve this host from, neither of the current version nor of the last. */
class SnapshotUnavailableError extends Error {
  override readonly name = 'SnapshotUnavailableError';
}

async function available<T>(found: Promise<T>): Promise<T> {
  try {
    return await found;
  } catch (error) {
    throw new SnapshotUnavailableError(String(error), { cause: error });
  }
}

function refreshInBackground({ cache }: Gateway, ctx: ExecutionContext): void {
  if (!cache.isDue(Date.now())) return;
  const refreshed = cache.refresh().catch((error: unknown) => {
    console.warn(`still serving version ${cache.version}: ${error}`);
  });
  ctx.waitUntil(refreshed);
}

async function serve(
  gateway: Gateway,
  request: Request,
  url: RequestUrl,
  { upstream }: Target,
  requestId: RequestId,
  ctx: ExecutionContext,
): Promise<Response> {
  const { balancer, dialers, settings } = gateway;
  const { connectTimeoutMs, responseTimeoutMs } = settings;
  const options = { connectTimeoutMs, responseTimeoutMs, signal: request.signal };
  const send = (message: UpstreamRequest): Promise<UpstreamResponse> =>
    forward(message, upstream, dialers[upstream.dialer], balancer, options);
  const message = upstreamRequest(request, url, requestId);
  if (isWebSocketRequest(request)) return proxyWebSocket(message, send, requestId, ctx);
  return clientResponse(await send(message), requestId);
}

function upstreamRequest(request: Request, url: RequestUrl, requestId: RequestId): UpstreamRequest {
  const length = request.headers.get('content-length');
  return {
    method: request.method,
    target: url.path + url.search,
    host: request.headers.get('host') ?? url.authority,
    headers: upstreamHeaders(request.headers, { url, requestId }),
    body: request.body as ReadableStream<Uint8Array> | null,
    contentLength: length === null ? null : Number(length),
    upgrade: null,
  };
}

function reasonOf(error: unknown): AnswerReason {
  if (error instanceof UpstreamError) {
    return error.kind === 'timeout' ? 'UpstreamTimeout' : 'UpstreamFailed';
  }
  if (error instanceof InvalidRequestError || error instanceof RequestBodyError)
    return 'BadRequest';
  return error instanceof SnapshotUnavailableError ? 'SnapshotUnavailable' : 'InternalError';
}

/** The cause is for whoever reads the log; the request id leads from the client's answer to it. */
function log(
  reason: AnswerReason,
  error: unknown,
  host: string,
  path: string,
  { id }: RequestId,
): void {
  const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  console.error(JSON.stringify({ level: 'error', requestId: id, host, path, reason, cause }));
}
