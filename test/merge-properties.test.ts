import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Snapshot } from '../snapshot/types.ts';
import { clusterState } from '../syncer/cluster-state.ts';
import { type CompileOptions, DEFAULTS } from '../syncer/compile/options.ts';
import { compile } from '../syncer/compile.ts';
import { decodeObject } from '../syncer/kubernetes/decode.ts';
import { describeRef, type KubernetesObject, refOf } from '../syncer/kubernetes/objects.ts';

// Many teams in one cluster, few hosts and paths, so that nearly all of them want the same.
const NAMESPACES = ['a', 'b', 'c'];
const SERVICES = ['web', 'api'];
const HOSTS = ['one.example', 'two.example', '*.example', ''];
const PATHS = ['/', '/x', '/x/', '/x/y', 'wrong'];

interface Asked {
  readonly namespace: string;
  readonly name: string;
  /** In seconds: as coarse as Kubernetes keeps it, so that there are ties. */
  readonly age: number;
  readonly rules: readonly { host: string; paths: readonly AskedPath[] }[];
  readonly defaultService: string | null;
  readonly className: string;
}

interface AskedPath {
  readonly path: string;
  readonly pathType: string;
  readonly service: string;
}

const path: fc.Arbitrary<AskedPath> = fc.record({
  path: fc.constantFrom(...PATHS),
  pathType: fc.constantFrom('Exact', 'Prefix', 'ImplementationSpecific'),
  service: fc.constantFrom(...SERVICES, 'missing'),
});

const asked: fc.Arbitrary<Asked> = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  name: fc.constantFrom('i', 'j', 'k', 'l', 'm'),
  age: fc.integer({ min: 0, max: 4 }),
  rules: fc.array(
    fc.record({ host: fc.constantFrom(...HOSTS), paths: fc.array(path, { maxLength: 3 }) }),
    { maxLength: 3 },
  ),
  defaultService: fc.option(fc.constantFrom(...SERVICES)),
  className: fc.constantFrom('causeway', 'causeway', 'causeway', 'other'),
});

const cluster = fc.uniqueArray(asked, {
  maxLength: 8,
  selector: ({ namespace, name }) => `${namespace}/${name}`,
});

/** An Ingress that a cluster does not have yet. */
const added = asked.map((it) => ({ ...it, name: `new-${it.name}`, className: 'causeway' }));

function objectsOf(all: readonly Asked[]): KubernetesObject[] {
  const services = NAMESPACES.flatMap((namespace) =>
    SERVICES.map((name) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { type: 'ExternalName', externalName: `${name}.${namespace}.origin.example` },
    })),
  );
  return [...services, ...all.map(rawIngress)].flatMap((raw) => {
    const decoded = decodeObject(raw);
    if (!decoded.ok) throw new Error(decoded.problem.message);
    return decoded.objects;
  });
}

function rawIngress({ namespace, name, age, rules, defaultService, className }: Asked) {
  const backend = (service: string) => ({ service: { name: service, port: { number: 80 } } });
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace, creationTimestamp: new Date(age * 1000).toISOString() },
    spec: {
      ingressClassName: className,
      defaultBackend: defaultService === null ? undefined : backend(defaultService),
      rules: rules.map(({ host, paths }) => ({
        host,
        http: {
          paths: paths.map((it) => ({ ...it, backend: backend(it.service), service: undefined })),
        },
      })),
    },
  };
}

function compiled(all: readonly Asked[], options: Partial<CompileOptions> = {}) {
  return compile(clusterState(objectsOf(all)), { ...DEFAULTS, ...options });
}

/** `one.example Prefix /x` -> where it leads. */
function routesOf(
  { virtualHosts }: Snapshot,
  text: (route: { upstream: string; source: { namespace: string; name: string } }) => string,
): Map<string, string> {
  const routes = new Map<string, string>();
  for (const { hostname, routes: own, defaultBackend } of virtualHosts) {
    for (const it of own) routes.set(`${hostname} ${it.match.type} ${it.match.path}`, text(it));
    if (defaultBackend) routes.set(`${hostname} default`, text(defaultBackend));
  }
  return routes;
}

const whole = ({ upstream, source }: { upstream: string; source: { name: string } }) =>
  `${upstream} by ${source.name}`;

/** Every host and path that one Ingress asks for. */
function claimedBy(name: string, all: readonly Asked[]): ReadonlySet<string> {
  const claims = compiled(all).claims.filter((it) => it.ingress.name === name);
  return new Set(
    claims.map(({ hostname, match }) =>
      match ? `${hostname} ${match.type} ${match.path}` : `${hostname} default`,
    ),
  );
}

function expectOthersUnchanged(
  all: readonly Asked[],
  extra: Asked,
  hostOwnership: 'shared' | 'strict',
) {
  const before = routesOf(compiled(all, { hostOwnership }).snapshot, whole);
  const after = routesOf(compiled([...all, extra], { hostOwnership }).snapshot, whole);
  const claimed = claimedBy(extra.name, [...all, extra]);
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    if (!claimed.has(key))
      expect(`${key} -> ${after.get(key)}`).toBe(`${key} -> ${before.get(key)}`);
  }
}

test('the order in which objects arrive changes nothing', () => {
  const orders = cluster.chain((all) =>
    fc.tuple(
      fc.constant(all),
      fc.shuffledSubarray(all, { minLength: all.length }),
      fc.constantFrom('shared' as const, 'strict' as const),
    ),
  );
  fc.assert(
    fc.property(orders, ([all, shuffled, hostOwnership]) => {
      const { snapshot, problems } = compiled(all, { hostOwnership });
      const other = compiled(shuffled, { hostOwnership });
      expect(other.snapshot).toEqual(snapshot);
      expect(other.problems).toEqual(problems);
    }),
  );
});

describe('one more Ingress changes no route that it does not claim', () => {
  test('whatever its age', () => {
    fc.assert(
      fc.property(cluster, added, (all, extra) => expectOthersUnchanged(all, extra, 'shared')),
      { numRuns: 300 },
    );
  });

  // An Ingress that is older than it should be (restored from a backup) may come to own a host.
  test('with strict ownership, if it is the youngest as new ones are', () => {
    fc.assert(
      fc.property(cluster, added, (all, extra) =>
        expectOthersUnchanged(all, { ...extra, age: 9 }, 'strict'),
      ),
      { numRuns: 300 },
    );
  });

  test('and none at all that somebody older has', () => {
    fc.assert(
      fc.property(cluster, added, (all, extra) => {
        const before = routesOf(compiled(all).snapshot, whole);
        const after = routesOf(compiled([...all, { ...extra, age: 9 }]).snapshot, whole);
        for (const [key, route] of before) expect(after.get(key)).toBe(route);
      }),
      { numRuns: 300 },
    );
  });
});

test('nobody loses or wins without a word', () => {
  fc.assert(
    fc.property(cluster, (all) => {
      const { claims, problems } = compiled(all);
      const said = (reason: string, name: string, other: string) =>
        problems.some(
          (it) =>
            it.reason === reason && describeRef(it.object) === name && it.message.includes(other),
        );
      for (const { ingress, verdict } of claims) {
        if (verdict.kind !== 'conflict') continue;
        const loser = describeRef(refOf(ingress));
        const winner = describeRef(refOf(verdict.winner.ingress));
        expect(said('RouteConflict', loser, winner)).toBe(true);
        expect(said('RouteConflictWon', winner, loser)).toBe(true);
      }
      const lost = claims.filter((it) => it.verdict.kind === 'conflict').length;
      if (lost === 0) expect(problems.map((it) => it.reason)).not.toContain('RouteConflictWon');
    }),
  );
});

test('an Ingress is renamed without a gap: with both names and then with the new one', () => {
  fc.assert(
    fc.property(cluster, fc.nat(), (all, index) => {
      fc.pre(all.length > 0);
      fc.pre(!compiled(all).claims.some((it) => it.verdict.kind === 'conflict'));
      const old = all[index % all.length];
      if (!old) return;
      const renamed = { ...old, name: 'renamed', age: 9 };
      const where = (them: readonly Asked[]) =>
        routesOf(compiled(them).snapshot, ({ upstream }) => upstream);
      const before = where(all);
      expect(where([...all, renamed])).toEqual(before);
      expect(where([...all.filter((it) => it !== old), renamed])).toEqual(before);
    }),
    { numRuns: 200 },
  );
});

test('two Causeways see each its own, and together all', () => {
  const other = { controllerName: 'acme.example/other', ingressClass: 'other' };
  fc.assert(
    fc.property(cluster, (all) => {
      const first = compiled(all);
      const second = compiled(all, other);
      const names = (ours: readonly { ingress: KubernetesObject }[]) =>
        ours.map((it) => describeRef(refOf(it.ingress)));
      expect(names(first.ours)).toEqual(names(second.ignored));
      expect(names(second.ours)).toEqual(names(first.ignored));
      for (const { object } of first.problems) {
        expect(names(second.ours)).not.toContain(describeRef(object));
      }
    }),
  );
});
