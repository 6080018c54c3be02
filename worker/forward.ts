import type { Upstream } from '../snapshot/types.ts';
import type { Balancer, EndpointState } from './balance.ts';
import type { Connection, Dialer } from './dial/dialer.ts';
import { DialError, UnansweredError, type UpstreamError } from './dial/upstream-error.ts';
import { exchange } from './http1/exchange.ts';
import type { UpstreamRequest, UpstreamResponse } from './http1/message.ts';

export interface ForwardOptions {
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
  /** Keeps the runtime from ending the request before this is over. */
  readonly waitUntil: (over: Promise<void>) => void;
  /** Hears why an answer broke off after its head. */
  readonly onBodyFailure: (error: UpstreamError) => void;
}

/** How many endpoints one request may dial before the caller hears of it. */
const CONNECT_ATTEMPTS_MAX = 4;

/**
 * While there is another endpoint to try: whoever is within reach answers sooner, but for a lost
 * packet, and a node whose kube-proxy still sends to a pod that is gone does not answer at all.
 */
const CONNECT_TIMEOUT_MS_FIRST = 1_000;

/**
 * Sends a request to one of an upstream's endpoints, and once more when the connection ends before
 * an answer and the request may be repeated. Rejects with UpstreamError, InvalidRequestError or
 * RequestBodyError; with DialError, when nothing was sent. See docs/retries.md.
 */
export async function forward(
  request: UpstreamRequest,
  upstream: Upstream,
  dialer: Dialer,
  balancer: Balancer,
  options: ForwardOptions,
): Promise<UpstreamResponse> {
  const from = { upstream, dialer, balancer };
  const { connection, state } = await dialOne(from, null, options);
  try {
    return await exchange(connection, request, options);
  } catch (error) {
    if (!(error instanceof UnansweredError && isRepeatable(request))) throw error;
    try {
      const second = await dialOne(from, state, options);
      return await exchange(second.connection, request, options);
    } catch (secondError) {
      // Something was sent all the same: nobody may take it for a request that found no one.
      throw secondError instanceof DialError ? error : secondError;
    }
  }
}

/**
 * Whether sending the request twice is the same as once (RFC 9110 section 9.2.2) and it is still all
 * there: what was read of a client's body cannot be read again.
 */
function isRepeatable({ method, body }: UpstreamRequest): boolean {
  return body === null && IDEMPOTENT_METHODS.has(method);
}

const IDEMPOTENT_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

interface Dialling {
  readonly upstream: Upstream;
  readonly dialer: Dialer;
  readonly balancer: Balancer;
}

/**
 * Opens a connection, to another endpoint than `last` if there is one: behind the address of a node
 * are many pods. One that fails is tried elsewhere at once, whatever the method, since nothing was
 * sent. Rejects with DialError.
 */
async function dialOne(
  { upstream, dialer, balancer }: Dialling,
  last: EndpointState | null,
  options: ForwardOptions,
): Promise<{ readonly connection: Connection; readonly state: EndpointState }> {
  const tried = last && upstream.endpoints.length > 1 ? [last] : [];
  let failure: DialError | null = null;
  for (let attempt = 1; attempt <= CONNECT_ATTEMPTS_MAX; attempt++) {
    const state = balancer.pick(upstream, tried, Math.random);
    if (!state) break;
    tried.push(state);
    const isLast = tried.length === upstream.endpoints.length || attempt === CONNECT_ATTEMPTS_MAX;
    const firstMs = Math.min(CONNECT_TIMEOUT_MS_FIRST, options.connectTimeoutMs);
    const place = occupy(state, options);
    try {
      const dialled = await dialer.dial(
        state.endpoint,
        isLast ? options.connectTimeoutMs : firstMs,
      );
      balancer.connected(state);
      return { connection: place.keep(dialled), state };
    } catch (error) {
      void place.leave();
      if (!(error instanceof DialError)) throw error;
      balancer.failed(state, Date.now());
      failure = error;
    }
  }
  throw failure ?? new DialError('refused', `upstream ${upstream.name} has no endpoint to dial`);
}

/**
 * Tries whether an endpoint that failed is back, so that no request has to find out. Nothing is
 * sent. Never rejects.
 */
export async function redial(
  state: EndpointState,
  dialer: Dialer,
  balancer: Balancer,
  connectTimeoutMs: number,
): Promise<void> {
  try {
    const connection = await dialer.dial(state.endpoint, connectTimeoutMs);
    balancer.connected(state);
    await connection.close();
  } catch {
    balancer.failed(state, Date.now());
  }
}

/** One request's place at an endpoint. */
interface Place {
  /** The connection that it was taken for; closing it leaves the place. */
  readonly keep: (dialled: Connection) => Connection;
  /** Closes the connection, if there is one by now. */
  readonly leave: () => Promise<void>;
}

/**
 * Counts the request as in flight until the exchange closes its connection, which it does when all is
 * over, or until the client has gone: then the runtime abandons the request between two steps, and
 * no `finally` of it is ever run. It does so too once the client has all of the answer, hence the
 * wait.
 */
function occupy(
  state: EndpointState,
  { signal, waitUntil }: Pick<ForwardOptions, 'signal' | 'waitUntil'>,
): Place {
  const { promise: left, resolve } = Promise.withResolvers<void>();
  let connection: Connection | null = null;
  let isIn = true;
  const leave = async () => {
    if (isIn) state.inFlight -= 1;
    isIn = false;
    signal.removeEventListener('abort', leave);
    resolve();
    await connection?.close();
  };
  const keep = (dialled: Connection): Connection => {
    connection = dialled;
    // Nobody was left to wait for it.
    if (signal.aborted) void leave();
    return { readable: dialled.readable, writable: dialled.writable, close: leave };
  };
  state.inFlight += 1;
  signal.addEventListener('abort', leave);
  waitUntil(left);
  return { keep, leave };
}
