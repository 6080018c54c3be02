import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Upstream } from '../snapshot/types.ts';
import {
  Balancer,
  EJECTION_MS_BASE,
  EJECTION_MS_MAX,
  type EndpointState,
  LOST_AFTER_MS,
} from '../worker/balance.ts';

function upstreamOf(count: number, name = 'shop/web/80'): Upstream {
  const endpoints = Array.from({ length: count }, (_, i) => ({ host: `8.8.8.${i}`, port: 80 }));
  return { name, dialer: 'socket', endpoints };
}

/** Each endpoint's state, got as a request gets it: by trying one after the other. */
function statesOf(balancer: Balancer, upstream: Upstream): readonly EndpointState[] {
  const states: EndpointState[] = [];
  for (let state = pick(); state; state = pick()) states.push(state);
  return states;

  function pick() {
    return balancer.pick(upstream, states, () => 0);
  }
}

const NOW = 1_000_000;

interface Endpoint {
  readonly inFlight: number;
  readonly failed: boolean;
  readonly tried: boolean;
}

const situation = fc.record({
  endpoints: fc.array(
    fc.record<Endpoint>({
      inFlight: fc.nat(3),
      failed: fc.boolean(),
      tried: fc.boolean(),
    }),
    { maxLength: 6 },
  ),
  dice: fc.infiniteStream(
    fc.oneof(
      fc.constantFrom(0, 1 - Number.EPSILON),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
    ),
  ),
});

describe('a pick', () => {
  test('is never one that was tried, nor one that failed while another did not', () => {
    fc.assert(
      fc.property(situation, ({ endpoints, dice }) => {
        const { picked, states } = arrange(endpoints, dice);
        const untried = states.filter((_, i) => !endpoints[i]?.tried);
        const awake = untried.filter((state) => state.failures === 0);
        if (untried.length === 0) expect(picked).toBeNull();
        else expect(awake.length > 0 ? awake : untried).toContain(picked);
      }),
      { numRuns: 1_000 },
    );
  });

  test('is never the busiest of those that may be picked', () => {
    fc.assert(
      fc.property(situation, ({ endpoints, dice }) => {
        const { picked, states } = arrange(endpoints, dice);
        const untried = states.filter((_, i) => !endpoints[i]?.tried);
        const awake = untried.filter((state) => state.failures === 0);
        const others = (awake.length > 0 ? awake : untried).filter((state) => state !== picked);
        // One that two others are less busy than cannot win against either.
        const isBusiest = others.every((state) => state.inFlight < (picked?.inFlight ?? 0));
        if (others.length > 0) expect(isBusiest).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  test('reaches every endpoint', () => {
    const balancer = new Balancer();
    const upstream = upstreamOf(5);
    const hosts = new Set<string | undefined>();
    for (let first = 0; first < 1; first += 0.05) {
      hosts.add(balancer.pick(upstream, [], () => first)?.endpoint.host);
    }
    expect(hosts.size).toBe(5);
  });

  test('is none without endpoints', () => {
    expect(new Balancer().pick(upstreamOf(0), [], () => 0.5)).toBeNull();
  });
});

describe('an endpoint', () => {
  test('rests longer with each failure, up to a limit, and is awake once it connected', () => {
    const balancer = new Balancer();
    const [state] = statesOf(balancer, upstreamOf(1));
    if (!state) throw new Error('no state');
    let now = NOW;
    for (let failures = 0; failures < 10; failures++) {
      balancer.failed(state, now);
      const restMs = Math.min(EJECTION_MS_BASE * 2 ** failures, EJECTION_MS_MAX);
      expect(state.ejectedUntilMs).toBe(now + restMs);
      now = state.ejectedUntilMs;
    }
    balancer.connected(state);
    expect(state).toMatchObject({ failures: 0, ejectedUntilMs: 0 });
  });

  test('that many requests wait for in vain has failed once', () => {
    const balancer = new Balancer();
    const [state] = statesOf(balancer, upstreamOf(1));
    if (!state) throw new Error('no state');
    for (let n = 0; n < 10; n++) balancer.failed(state, NOW + n);
    expect(state).toMatchObject({ failures: 1, ejectedUntilMs: NOW + EJECTION_MS_BASE });
  });

  test('that has failed and rested is given for one trial at a time, and to no request', () => {
    const balancer = new Balancer();
    const upstream = upstreamOf(2);
    const [bad, good] = statesOf(balancer, upstream);
    if (!bad || !good) throw new Error('no state');
    expect(balancer.takeRested(upstream, NOW)).toBeNull();
    balancer.failed(bad, NOW);
    let now = NOW + EJECTION_MS_BASE;
    expect(balancer.takeRested(upstream, now - 1)).toBeNull();
    expect(balancer.takeRested(upstream, now)).toBe(bad);
    expect(balancer.takeRested(upstream, now)).toBeNull();
    expect(balancer.pick(upstream, [], () => 0)).toBe(good);
    // The trial fails: the next rest is longer.
    balancer.failed(bad, now);
    expect(balancer.takeRested(upstream, now + EJECTION_MS_BASE)).toBeNull();
    now += 2 * EJECTION_MS_BASE;
    expect(balancer.takeRested(upstream, now)).toBe(bad);
    balancer.connected(bad);
    expect(balancer.takeRested(upstream, now + EJECTION_MS_MAX)).toBeNull();
    expect(new Set([0, 0.9].map((dice) => balancer.pick(upstream, [], () => dice)))).toEqual(
      new Set([good, bad]),
    );
  });

  test('whose trial was never heard of again gets another', () => {
    const balancer = new Balancer();
    const upstream = upstreamOf(2);
    const [bad] = statesOf(balancer, upstream);
    if (!bad) throw new Error('no state');
    balancer.failed(bad, NOW);
    expect(balancer.takeRested(upstream, NOW + EJECTION_MS_BASE)).toBe(bad);
    expect(balancer.takeRested(upstream, NOW + EJECTION_MS_MAX)).toBe(bad);
  });

  test('is one, in whatever version and upstream it stands', () => {
    const balancer = new Balancer();
    const [one] = statesOf(balancer, upstreamOf(1));
    expect(statesOf(balancer, upstreamOf(1))[0]).toBe(one);
    expect(statesOf(balancer, upstreamOf(1, 'shop/other/80'))[0]).toBe(one);
  });
});

function arrange(endpoints: readonly Endpoint[], dice: fc.Stream<number>) {
  const balancer = new Balancer();
  const upstream = upstreamOf(endpoints.length);
  const states = [...statesOf(balancer, upstream)].sort((a, b) =>
    a.endpoint.host < b.endpoint.host ? -1 : 1,
  );
  for (const [i, { inFlight, failed }] of endpoints.entries()) {
    const state = states[i];
    if (!state) throw new Error(`no state of endpoint ${i}`);
    state.inFlight = inFlight;
    if (failed) balancer.failed(state, NOW);
  }
  const tried = states.filter((_, i) => endpoints[i]?.tried);
  const random = () => dice.next().value ?? 0;
  return { picked: balancer.pick(upstream, tried, random), states };
}

describe('an upstream', () => {
  test('is lost when none of its endpoints could be connected to for long', () => {
    const balancer = new Balancer();
    const upstream = upstreamOf(2);
    const [one, two] = statesOf(balancer, upstream);
    if (!one || !two) throw new Error('no state');
    const lostAt = NOW + LOST_AFTER_MS + 1;
    balancer.failed(one, NOW);
    expect(balancer.isLost(upstream, lostAt)).toBe(false);
    balancer.failed(two, NOW + 1);
    expect(balancer.isLost(upstream, lostAt - 1)).toBe(false);
    expect(balancer.isLost(upstream, lostAt)).toBe(true);
    // Later failures do not make it younger, a connection does.
    balancer.failed(two, lostAt);
    expect(balancer.isLost(upstream, lostAt)).toBe(true);
    balancer.connected(one);
    balancer.failed(one, lostAt);
    expect(balancer.isLost(upstream, lostAt)).toBe(false);
  });
});
