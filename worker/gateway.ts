import { normaliseHost } from '../snapshot/hostname.ts';
import type { DialerName, Hostname } from '../snapshot/types.ts';
import { admin, isAdmin } from './admin.ts';
import { type AnswerReason, answer, redirect } from './answers.ts';
import { Balancer } from './balance.ts';
import { clientResponse } from './client-response.ts';
import type { Dialer } from './dial/dialer.ts';
import { type ConnectFunction, socketDialer, vpcDialer } from './dial/socket.ts';
import { DialError, UpstreamError } from './dial/upstream-error.ts';
import { type Env, readSettings, type Settings } from './env.ts';
import { forward, redial } from './forward.ts';
import { upstreamHeaders } from './headers.ts';
import type { Header, UpstreamRequest, UpstreamResponse } from './http1/message.ts';
import { InvalidRequestError, RequestBodyError } from './http1/request-error.ts';
import { decide, type Forward, withTransportSecurity } from './policy.ts';
import { newRequestId, type RequestId } from './request-id.ts';
import { parseRequestUrl, type RequestUrl } from './request-url.ts';
import { type Match, matchPath } from './routing-table.ts';
import { type HostLookup, SnapshotCache } from './snapshot-cache.ts';
import { SnapshotStore } from './snapshot-store.ts';
import { serverNameOf } from './tls/server-name.ts';
import { TrustedClients } from './tls/trusted-clients.ts';
import { isWebSocketRequest } from './websocket/handshake.ts';
import { proxyWebSocket } from './websocket/proxy.ts';

/** Everything an isolate keeps between requests. Made by the first one, which brings the bindings. */
export interface Gateway {
  readonly env: Env;
  readonly settings: Settings;
  readonly store: SnapshotStore;
  readonly cache: SnapshotCache;
  readonly balancer: Balancer;
  readonly trusted: TrustedClients;
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
    trusted: new TrustedClients(),
    dialers: {
      socket: socketDialer(connect, settings.addressPolicy),
      vpc: vpcDialer(env.VPC ?? null),
    },
  };
}

/** One request: match, apply the host's policies, then forward or answer. Never rejects. */
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
    const { admin: hidden } = gateway.settings;
    if (hidden && host === hidden.host) {
      // Without the token nobody learns that there is anything.
      if (!(await isAdmin(request, hidden.token))) return answer('NoRoute', request, requestId);
      return await admin.fetch(request, { gateway }, ctx);
    }
    return await route(gateway, { request, url, host, requestId, ctx });
  } catch (error) {
    return failed(error, { request, url, host, requestId });
  }
}

/** A request that is not for the admin API. */
interface Incoming {
  readonly request: Request;
  readonly url: RequestUrl;
  readonly host: Hostname;
  readonly requestId: RequestId;
  readonly ctx: ExecutionContext;
}

/**
 * How long a request that found nobody waits before it tries again. A pod that ends takes no more
 * connections at once, while kube-proxy takes up to a second to hear of it and sends some to it
 * until then, from whatever node: a new connection, not another node, gets to another pod.
 */
const PAUSES_MS = [50, 100, 200, 400, 800];

async function route(gateway: Gateway, incoming: Incoming): Promise<Response> {
  const { host, ctx, request, url, requestId } = incoming;
  for (let round = 0; ; round++) {
    const refreshed = refreshInBackground(gateway, ctx);
    const lookup = await lookUp(gateway, host);
    if (!lookup.host) return answer('NoRoute', request, requestId);
    const match = matchPath(lookup.host, url.path);
    try {
      const response = await obey(gateway, incoming, match);
      return withTransportSecurity(response, lookup.host, url);
    } catch (error) {
      const { version } = lookup;
      const pauseMs = await pauseAfter(error, gateway, incoming, match, {
        refreshed,
        version,
        round,
      });
      if (pauseMs === null) return withTransportSecurity(failed(error, incoming), lookup.host, url);
      if (pauseMs > 0) await pause(pauseMs);
    }
  }
}

interface Round {
  readonly refreshed: Promise<void> | null;
  readonly version: string;
  readonly round: number;
}

/** How long to wait before the request is tried once more; null when it is not to be. */
async function pauseAfter(
  error: unknown,
  gateway: Gateway,
  { host, request }: Incoming,
  match: Match,
  { refreshed, version, round }: Round,
): Promise<number | null> {
  // After any other error something was sent.
  if (!(error instanceof DialError) || match.kind !== 'route') return null;
  // What does not answer any more may have moved, and a newer version know it.
  await refreshed;
  const newer = await lookUp(gateway, host);
  const pauseMs = PAUSES_MS[round];
  if (pauseMs === undefined || request.signal.aborted) return null;
  if (newer.version !== version) return 0;
  const isLost = gateway.balancer.isLost(match.target.upstream, Date.now());
  return isLost || error.failure === 'address' ? null : pauseMs;
}

/** Does what the policies of the host say, which is to forward the request unless one objects. */
async function obey(gateway: Gateway, incoming: Incoming, match: Match): Promise<Response> {
  const { request, requestId, host, url } = incoming;
  const opened = openedFor(gateway, incoming);
  const decision = decide(match, {
    request,
    url,
    host,
    openedFor: opened && (await opened).host,
    httpsPort: gateway.settings.httpsPort,
    trusted: gateway.trusted,
    nowMs: Date.now(),
  });
  switch (decision.kind) {
    case 'forward':
      return serve(gateway, incoming, decision);
    case 'redirect':
      return redirect(decision.location, request, requestId);
    case 'refuse':
      if (decision.cause !== null) log('warn', decision, host, url.path, requestId);
      return answer(decision.reason, request, requestId);
    default:
      return decision satisfies never;
  }
}

/** The host that the client's connection was opened for; null when it is this one or not known. */
function openedFor(
  gateway: Gateway,
  { host, request, url }: Incoming,
): HostLookup | Promise<HostLookup> | null {
  if (url.scheme !== 'https' || !gateway.settings.tellsServerName) return null;
  const name = serverNameOf(request.cf);
  return name === null || name === host ? null : lookUp(gateway, name);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** There is nothing to serve this host from, neither of the current version nor of the last. */
class SnapshotUnavailableError extends Error {
  override readonly name = 'SnapshotUnavailableError';
}

function lookUp({ cache }: Gateway, host: Hostname): HostLookup | Promise<HostLookup> {
  const found = cache.find(host, Date.now());
  return found instanceof Promise ? available(found) : found;
}

async function available<T>(found: Promise<T>): Promise<T> {
  try {
    return await found;
  } catch (error) {
    throw new SnapshotUnavailableError(String(error), { cause: error });
  }
}

/** Resolves, without ever rejecting, when a look at the pointer that was due has ended. */
function refreshInBackground({ cache }: Gateway, ctx: ExecutionContext): Promise<void> | null {
  if (!cache.isDue(Date.now())) return null;
  const refreshed = cache.refresh().catch((error: unknown) => {
    console.warn(`still serving version ${cache.version}: ${error}`);
  });
  ctx.waitUntil(refreshed);
  return refreshed;
}

async function serve(
  gateway: Gateway,
  { request, url, host, requestId, ctx }: Incoming,
  { upstream, certificate }: Forward,
): Promise<Response> {
  if (upstream.endpoints.length === 0) return answer('NoEndpoints', request, requestId);
  const { balancer, dialers, settings } = gateway;
  const { connectTimeoutMs, responseTimeoutMs } = settings;
  const dialer = dialers[upstream.dialer];
  const rested = balancer.takeRested(upstream, Date.now());
  if (rested) ctx.waitUntil(redial(rested, dialer, balancer, connectTimeoutMs));
  const options = {
    connectTimeoutMs,
    responseTimeoutMs,
    signal: request.signal,
    waitUntil: (over: Promise<void>) => ctx.waitUntil(over),
    onBodyFailure: (error: UpstreamError) => logError(error, host, url.path, requestId),
  };
  const send = (message: UpstreamRequest): Promise<UpstreamResponse> =>
    forward(message, upstream, dialer, balancer, options);
  const headers = upstreamHeaders(request.headers, { url, requestId, certificate });
  const message = upstreamRequest(request, url, headers);
  if (isWebSocketRequest(request)) return proxyWebSocket(message, send, requestId, ctx);
  return clientResponse(await send(message), requestId);
}

function upstreamRequest(
  request: Request,
  url: RequestUrl,
  headers: readonly Header[],
): UpstreamRequest {
  const length = request.headers.get('content-length');
  const contentLength = length === null ? null : Number(length);
  return {
    method: request.method,
    target: url.path + url.search,
    host: request.headers.get('host') ?? url.authority,
    headers,
    // The runtime gives a stream of nothing, too, and what has a stream cannot be sent again.
    body: contentLength === 0 ? null : (request.body as ReadableStream<Uint8Array> | null),
    contentLength,
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

function failed(
  error: unknown,
  { request, url, host, requestId }: Omit<Incoming, 'ctx'>,
): Response {
  return answer(logError(error, host, url.path, requestId), request, requestId);
}

function logError(error: unknown, host: string, path: string, requestId: RequestId): AnswerReason {
  const reason = reasonOf(error);
  const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  log('error', { reason, cause }, host, path, requestId);
  return reason;
}

/** The cause is for whoever reads the log; the request id leads from the client's answer to it. */
function log(
  level: 'error' | 'warn',
  { reason, cause }: { readonly reason: AnswerReason; readonly cause: string | null },
  host: string,
  path: string,
  { id }: RequestId,
): void {
  console[level](JSON.stringify({ level, requestId: id, host, path, reason, cause }));
}
