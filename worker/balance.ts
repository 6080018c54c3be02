import type { Endpoint, Upstream } from '../snapshot/types.ts';

/** What this isolate knows of one endpoint. It outlives snapshots: a new version is no new node. */
export interface EndpointState {
  readonly endpoint: Endpoint;
  inFlight: number;
  /** Failed connections in a row. */
  failures: number;
  /** When the first of these was. */
  failingSinceMs: number;
  ejectedUntilMs: number;
  /** Somebody tries whether it is back: see {@link Balancer.takeRested}. */
  isOnTrial: boolean;
}

/** How long an endpoint rests after its first failed connection; doubled for each further trial. */
export const EJECTION_MS_BASE = 2_000;
export const EJECTION_MS_MAX = 60_000;
/** An upstream that is refused for so long is more than a rolling update. */
export const LOST_AFTER_MS = 5_000;
/** A trial of which nothing was heard for so long was abandoned by the runtime. */
const TRIAL_MS_MAX = 10_000;
/** Beyond this, states that carry nothing worth keeping are dropped. */
const STATES_MAX = 10_000;

export class Balancer {
  readonly #states = new Map<string, EndpointState>();
  /** How many endpoints have failed and not connected since. */
  #failing = 0;
  /** The states of an upstream's endpoints, looked up once for each version of it. */
  readonly #byUpstream = new WeakMap<Upstream, readonly EndpointState[]>();

  /**
   * Picks an endpoint that is not in `tried`: the less busy one of two drawn at random (power of
   * two choices), leaving out those that have failed and not connected since, unless all have.
   * `random` gives [0, 1).
   */
  pick(
    upstream: Upstream,
    tried: readonly EndpointState[],
    random: () => number,
  ): EndpointState | null {
    const states = this.#statesOf(upstream);
    const isUsable = (state: EndpointState) => state.failures === 0 && !tried.includes(state);
    const drawn = drawTwo(states, random);
    // Nearly always good; only when something has failed are all endpoints looked at.
    if (drawn.every(isUsable)) return lessBusy(drawn);
    const usable = states.filter(isUsable);
    if (usable.length > 0) return lessBusy(drawTwo(usable, random));
    const untried = states.filter((state) => !tried.includes(state));
    return lessBusy(drawTwo(untried, random));
  }

  /**
   * An endpoint that has failed and rested, for one connection that tries whether it is back. Nobody
   * else gets it until that one has failed or connected.
   */
  takeRested(upstream: Upstream, nowMs: number): EndpointState | null {
    if (this.#failing === 0) return null;
    const isRested = (state: EndpointState) => state.failures > 0 && state.ejectedUntilMs <= nowMs;
    const rested = this.#statesOf(upstream).find(isRested);
    if (!rested) return null;
    rested.ejectedUntilMs = nowMs + TRIAL_MS_MAX;
    rested.isOnTrial = true;
    return rested;
  }

  /** Whether nobody has got to any of an upstream's endpoints for long: waiting would be in vain. */
  isLost(upstream: Upstream, nowMs: number): boolean {
    const since = nowMs - LOST_AFTER_MS;
    const isDown = (it: EndpointState) => it.failures > 0 && it.failingSinceMs <= since;
    return this.#statesOf(upstream).every(isDown);
  }

  connected(state: EndpointState): void {
    if (state.failures > 0) this.#failing -= 1;
    state.failures = 0;
    state.ejectedUntilMs = 0;
    state.isOnTrial = false;
  }

  failed(state: EndpointState, nowMs: number): void {
    // Connections that were begun together fail together, and say together what one of them says.
    if (nowMs < state.ejectedUntilMs && !state.isOnTrial) return;
    if (state.failures === 0) {
      this.#failing += 1;
      state.failingSinceMs = nowMs;
    }
    state.isOnTrial = false;
    const restMs = Math.min(EJECTION_MS_BASE * 2 ** state.failures, EJECTION_MS_MAX);
    state.failures += 1;
    state.ejectedUntilMs = nowMs + restMs;
  }

  #statesOf(upstream: Upstream): readonly EndpointState[] {
    let states = this.#byUpstream.get(upstream);
    if (!states) {
      states = upstream.endpoints.map((endpoint) => this.#state(endpoint));
      this.#byUpstream.set(upstream, states);
    }
    return states;
  }

  #state(endpoint: Endpoint): EndpointState {
    const key = `${endpoint.host} ${endpoint.port}`;
    const known = this.#states.get(key);
    if (known) return known;
    if (this.#states.size >= STATES_MAX) this.#sweep();
    const state = {
      endpoint,
      inFlight: 0,
      failures: 0,
      failingSinceMs: 0,
      ejectedUntilMs: 0,
      isOnTrial: false,
    };
    this.#states.set(key, state);
    return state;
  }

  #sweep(): void {
    for (const [key, state] of this.#states) {
      if (state.inFlight === 0 && state.failures === 0) this.#states.delete(key);
    }
  }
}

/** Two different ones, or as many as there are. */
function drawTwo(states: readonly EndpointState[], random: () => number): readonly EndpointState[] {
  const count = states.length;
  if (count < 2) return states;
  const index = Math.floor(random() * count);
  // Another than the first, each with the same chance.
  const other = (index + 1 + Math.floor(random() * (count - 1))) % count;
  const [first, second] = [states[index], states[other]];
  return first && second ? [first, second] : [];
}

function lessBusy([first, second]: readonly EndpointState[]): EndpointState | null {
  if (!first || !second) return first ?? null;
  return second.inFlight < first.inFlight ? second : first;
}
