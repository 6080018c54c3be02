import type { Upstream } from '../snapshot/types.ts';
import type { Balancer, EndpointState } from './balance.ts';
import type { Connection, Dialer } from './dial/dialer.ts';
import { DialError, type UpstreamError } from './dial/upstream-error.ts';
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

/** How many endpoints one request may try before the client hears of it. */
const CONNECT_ATTEMPTS_MAX = 4;

/**
 * Sends a request to one of an upstream's endpoints. A connection that fails is tried elsewhere at
 * once, whatever the method, since nothing was sent; after the first byte nothing is tried again.
 * Rejects with UpstreamError, InvalidRequestError or RequestBodyError.
 */
export async function forward(
  request: UpstreamRequest,
  upstream: Upstream,
  dialer: Dialer,
  balancer: Balancer,
  options: ForwardOptions,
): Promise<UpstreamResponse> {
  const tried: EndpointState[] = [];
  let failure: DialError | null = null;
  while (tried.length < CONNECT_ATTEMPTS_MAX) {
    const state = balancer.pick(upstream, tried, Math.random);
    if (!state) break;
    tried.push(state);
    const leave = occupy(state, options);
    let connection: Connection;
    try {
      connection = await dialer.dial(state.endpoint, options.connectTimeoutMs);
    } catch (error) {
      leave();
      if (!(error instanceof DialError)) throw error;
      balancer.failed(state, Date.now());
      failure = error;
      continue;
    }
    balancer.connected(state);
    return exchange(leaving(connection, leave, options.signal), request, options);
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

/**
 * Counts the request as in flight until the function returned is called, or the client has gone:
 * then the runtime abandons the request between two steps, and no `finally` of it is ever run. It
 * does so too once the client has all of the answer, hence the wait.
 */
function occupy(
  state: EndpointState,
  { signal, waitUntil }: Pick<ForwardOptions, 'signal' | 'waitUntil'>,
): () => void {
  const { promise: left, resolve } = Promise.withResolvers<void>();
  let isIn = true;
  const leave = () => {
    if (isIn) state.inFlight -= 1;
    isIn = false;
    signal.removeEventListener('abort', leave);
    resolve();
  };
  state.inFlight += 1;
  signal.addEventListener('abort', leave);
  waitUntil(left);
  return leave;
}

/** The exchange closes its connection when all is over; a client that goes closes it as well. */
function leaving(connection: Connection, leave: () => void, signal: AbortSignal): Connection {
  const close = () => {
    leave();
    signal.removeEventListener('abort', close);
    return connection.close();
  };
  signal.addEventListener('abort', close);
  if (signal.aborted) void close();
  return { readable: connection.readable, writable: connection.writable, close };
}
