import type { Upstream } from '../snapshot/types.ts';
import type { Balancer, EndpointState } from './balance.ts';
import type { Connection, Dialer } from './dial/dialer.ts';
import { DialError } from './dial/upstream-error.ts';
import { exchange } from './http1/exchange.ts';
import type { UpstreamRequest, UpstreamResponse } from './http1/message.ts';

export interface ForwardOptions {
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
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
    const state = balancer.pick(upstream, tried, Date.now(), Math.random);
    if (!state) break;
    tried.push(state);
    state.inFlight += 1;
    let connection: Connection;
    try {
      connection = await dialer.dial(state.endpoint, options.connectTimeoutMs);
    } catch (error) {
      state.inFlight -= 1;
      if (!(error instanceof DialError)) throw error;
      balancer.failed(state, Date.now());
      failure = error;
      continue;
    }
    balancer.connected(state);
    return exchange(counted(connection, state), request, options);
  }
  throw failure ?? new DialError('refused', `upstream ${upstream.name} has no endpoint to dial`);
}

/** The exchange closes its connection when all is over: then the request no longer counts. */
function counted(connection: Connection, state: EndpointState): Connection {
  let open = true;
  return {
    readable: connection.readable,
    writable: connection.writable,
    close: () => {
      if (open) state.inFlight -= 1;
      open = false;
      return connection.close();
    },
  };
}
