import { ApiError, fail, succeed } from './envelope.ts';

/**
 * A fault for the next calls that match, for tests. Posted to `/__faults` as a list; `GET /__calls`
 * tells every call of the API since the last `DELETE /__faults`, which clears both.
 */
export interface Fault {
  /** A regular expression over `METHOD /path`. */
  readonly match: string;
  /** So many matching calls are let through first; default 0. */
  readonly skip?: number;
  /** How many calls the fault hits; default 1. */
  readonly times?: number;
  readonly respond: FaultResponse;
}

export type FaultResponse =
  /** An error in Cloudflare's envelope; nothing is done. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string }
  /** A page of some proxy in between, not JSON. */
  | { readonly kind: 'html'; readonly status: number }
  /** So many of the first keys of a bulk call are not written. */
  | { readonly kind: 'partial'; readonly failing: number }
  /** Only these statements of a D1 batch are run, by index, as if it were no transaction. */
  | { readonly kind: 'only'; readonly statements: readonly number[] }
  /** Nothing is done and the connection breaks. */
  | { readonly kind: 'refuse' }
  /** Everything is done and the connection breaks before the answer is whole. */
  | { readonly kind: 'drop' };

export interface Call {
  readonly method: string;
  readonly path: string;
}

interface Armed extends Fault {
  skipsLeft: number;
  timesLeft: number;
}

let armed: Armed[] = [];
let calls: Call[] = [];

/** The control route. */
export async function control(request: Request): Promise<Response> {
  if (request.method === 'POST') {
    const faults = (await request.json()) as Fault[];
    for (const fault of faults) {
      armed.push({ ...fault, skipsLeft: fault.skip ?? 0, timesLeft: fault.times ?? 1 });
    }
  } else if (request.method === 'DELETE') {
    armed = [];
    calls = [];
  }
  return succeed(calls);
}

/** Notes the call and tells which fault hits it, if any. */
export function takeFault(method: string, path: string): FaultResponse | null {
  calls.push({ method, path });
  for (const fault of armed) {
    if (fault.timesLeft === 0 || !new RegExp(fault.match).test(`${method} ${path}`)) continue;
    if (fault.skipsLeft > 0) {
      fault.skipsLeft--;
      continue;
    }
    fault.timesLeft--;
    return fault.respond;
  }
  return null;
}

/** The answer that a fault gives in place of the real one, or `null` when the call is to be done. */
export function answerInstead(fault: FaultResponse | null): Response | null {
  switch (fault?.kind) {
    case 'status': {
      const headers = fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter };
      return fail(new ApiError(fault.status, 10000, `injected ${fault.status}`), headers);
    }
    case 'html':
      return new Response('<html>bad gateway</html>', {
        status: fault.status,
        headers: { 'content-type': 'text/html' },
      });
    case 'refuse':
      return brokenAnswer();
    default:
      return null;
  }
}

/** Headers, a few bytes, and then the connection is cut. */
export function brokenAnswer(): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('{"success":'));
      controller.error(new Error('injected: connection cut'));
    },
  });
  return new Response(body, { headers: { 'content-type': 'application/json' } });
}
