import type { Endpoint, Upstream } from '../snapshot/types.ts';

/** What this isolate knows of one endpoint. It outlives snapshots: a new version is no new node. */
export interface EndpointState {
  readonly endpoint: Endpoint;
  inFlight: number;
  /** Failed connections in a row. */
  failures: number;
  ejectedUntilMs: number;
}

/** How long an endpoint rests after its first failed connection; doubled for each further one. */
export const EJECTION_MS_BASE = 2_000;
export const EJECTION_MS_MAX = 60_000;
/** Beyond this, states that carry nothing worth keeping are dropped. */
const STATES_MAX = 10_000;

export class Balancer {
  readonly #states = new Map<string, EndpointState>();

  /**
   * Picks an endpoint that is not in `tried`: the less busy one of two drawn at random (power of
   * two choices), leaving out those that rest unless all do. `random` gives [0, 1).
   */
  pick(
    upstream: Upstream,
    tried: readonly EndpointState[],
    nowMs: number,
    random: () => number,
  ): EndpointState | null {
    const untried = upstream.endpoints
      .map((endpoint) => this.#state(endpoint))
      .filter((state) => !tried.includes(state));
    const awake = untried.filter((state) => state.ejectedUntilMs <= nowMs);
    const choices = awake.length > 0 ? awake : untried;
    const first = choices[Math.floor(random() * choices.length)];
    if (!first || choices.length === 1) return first ?? null;
    const rest = choices.filter((state) => state !== first);
    const second = rest[Math.floor(random() * rest.length)];
    return second && second.inFlight < first.inFlight ? second : first;
  }

  connected(state: EndpointState): void {
    state.failures = 0;
    state.ejectedUntilMs = 0;
  }

  failed(state: EndpointState, nowMs: number): void {
    const restMs = Math.min(EJECTION_MS_BASE * 2 ** state.failures, EJECTION_MS_MAX);
    state.failures += 1;
    state.ejectedUntilMs = nowMs + restMs;
  }

  #state(endpoint: Endpoint): EndpointState {
    const key = `${endpoint.host} ${endpoint.port}`;
    const known = this.#states.get(key);
    if (known) return known;
    if (this.#states.size >= STATES_MAX) this.#sweep();
    const state = { endpoint, inFlight: 0, failures: 0, ejectedUntilMs: 0 };
    this.#states.set(key, state);
    return state;
  }

  #sweep(): void {
    for (const [key, state] of this.#states) {
      if (state.inFlight === 0 && state.failures === 0) this.#states.delete(key);
    }
  }
}
