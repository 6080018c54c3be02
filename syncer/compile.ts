import { comparePathMatches, compareText } from '../snapshot/precedence.ts';
import {
  CATCH_ALL_HOST,
  type Destination,
  type Hostname,
  type Problem,
  type Snapshot,
  type VirtualHost,
} from '../snapshot/types.ts';
import type { ClusterState } from './cluster-state.ts';
import { keepServed } from './compile/challenge-hosts.ts';
import { claimsOf } from './compile/claims.ts';
import { classOptions } from './compile/class-options.ts';
import { HostPolicies } from './compile/host-settings.ts';
import { ingressClassDecider } from './compile/ingress-class.ts';
import { hostOwners, type JudgedClaim, judge } from './compile/merge.ts';
import type { CompileOptions } from './compile/options.ts';
import { Problems } from './compile/problems.ts';
import { type TlsPlan, tlsPlan } from './compile/tls.ts';
import { Upstreams, upstreamVariant } from './compile/upstreams.ts';
import { type Ingress, refOf } from './kubernetes/objects.ts';

export interface Compilation {
  readonly snapshot: Snapshot;
  readonly problems: readonly Problem[];
  /** Every route that was asked for and what became of it, oldest Ingress first. */
  readonly claims: readonly JudgedClaim[];
  readonly tls: TlsPlan;
  /** Every Ingress of ours. */
  readonly ours: readonly OurIngress[];
  /** Ingresses that are not ours, with the reason. */
  readonly ignored: readonly { readonly ingress: Ingress; readonly because: string }[];
  /** What was compiled: whoever tells the cluster about it needs the objects themselves. */
  readonly state: ClusterState;
  /** The controller's options, and after them those of each IngressClass that has its own. */
  readonly options: readonly [CompileOptions, ...CompileOptions[]];
}

export interface OurIngress {
  readonly ingress: Ingress;
  /** The controller's, as its IngressClass changes them. */
  readonly options: CompileOptions;
}

/**
 * Merges all Ingresses of all namespaces into one snapshot. A function: no I/O, clock, randomness
 * or logging; a user's mistake becomes a {@link Problem} and hurts nothing else.
 */
export function compile(state: ClusterState, options: CompileOptions): Compilation {
  const problems = new Problems(state.problems);
  const decide = ingressClassDecider(state, options);
  const optionsByClass = classOptions(state, options, problems);
  const decided = state.ingresses.map((ingress) => {
    const decision = decide(ingress);
    const own = optionsByClass.get(decision.className ?? '') ?? options;
    const variant = upstreamVariant(decision.className, own, options);
    return { ingress, ...decision, options: own, variant };
  });
  const ours = decided.filter((it) => it.ours);
  const chosen = new Map(ours.map((it) => [it.ingress, it]));

  const asked = ours.map((it) => claimsOf(it.ingress, it.options, problems));
  const owners = hostOwners(asked);
  const optionsOf = (ingress: Ingress) => chosen.get(ingress)?.options ?? options;
  const upstreams = new Upstreams(state, options, problems);
  const claims = judge(
    asked,
    owners,
    ({ backend: { service, port }, ingress, field }) => {
      const variant = chosen.get(ingress)?.variant ?? null;
      const { namespace } = ingress;
      return upstreams.resolve(namespace, service, port, refOf(ingress), field, variant);
    },
    optionsOf,
    problems,
  );
  const secrets = new Map(state.secrets.map((it) => [`${it.namespace}/${it.name}`, it]));
  const tls = tlsPlan(asked, owners, secrets, problems);
  const policies = new HostPolicies(asked, { optionsOf, owners, tls, secrets, problems });
  const fallback = globalDefaultBackend(options, upstreams);
  const virtualHosts = keepServed(
    virtualHostsOf({ owners, policies }, claims, fallback),
    ours.map((it) => it.ingress),
  );
  const used = namesIn(virtualHosts);
  return {
    snapshot: {
      virtualHosts,
      upstreams: upstreams
        .all()
        .filter(({ name }) => used.has(name))
        .sort((a, b) => compareText(a.name, b.name)),
    },
    tls,
    claims,
    ours: ours.map((it) => ({ ingress: it.ingress, options: it.options })),
    ignored: decided.filter((it) => !it.ours).map(({ ingress, because }) => ({ ingress, because })),
    state,
    options: [options, ...optionsByClass.values()],
    problems: problems.sorted(),
  };
}

/** The old `default-http-backend`: serves wherever the answer would be 404. */
function globalDefaultBackend(
  { defaultBackendService }: CompileOptions,
  upstreams: Upstreams,
): Destination | null {
  if (!defaultBackendService) return null;
  const { namespace, name, port } = defaultBackendService;
  const source = { kind: 'Service', namespace, name };
  const ref = port === null ? null : { number: port };
  const upstream = upstreams.resolve(namespace, name, ref, source, '--default-backend-service');
  return { upstream, source };
}

function virtualHostsOf(
  {
    owners,
    policies,
  }: { readonly owners: ReadonlyMap<Hostname, string>; readonly policies: HostPolicies },
  claims: readonly JudgedClaim[],
  fallback: Destination | null,
): readonly VirtualHost[] {
  const won = claims.filter((claim) => claim.verdict.kind === 'won');
  const byHost = Map.groupBy(won, (claim) => claim.hostname);
  const destination = ({ upstream, ingress, hostname }: JudgedClaim): Destination => ({
    upstream,
    source: refOf(ingress),
    ...(policies.httpsOnly(hostname, ingress) && { httpsOnly: true }),
  });
  // A host that was named exists, also when all its paths are wrong: it must not fall through to a
  // wildcard that belongs to somebody else.
  const names = new Set(owners.keys());
  if (fallback) names.add(CATCH_ALL_HOST);
  return [...names].sort(compareText).map((hostname): VirtualHost => {
    const own = byHost.get(hostname) ?? [];
    const routes = own
      .flatMap((claim) => (claim.match ? [{ match: claim.match, ...destination(claim) }] : []))
      .sort((a, b) => comparePathMatches(a.match, b.match));
    const { httpsOnly, strictTransportSecurity, clientCertificates } = policies.of(hostname);
    const ownDefault = own.find((claim) => claim.match === null);
    const others = fallback && { ...fallback, ...(httpsOnly && { httpsOnly: true as const }) };
    const defaultBackend = ownDefault ? destination(ownDefault) : others;
    return {
      hostname,
      owner: owners.get(hostname) ?? '',
      routes,
      ...(defaultBackend && { defaultBackend }),
      ...(strictTransportSecurity !== null && { strictTransportSecurity }),
      ...(clientCertificates && { clientCertificates }),
    };
  });
}

function namesIn(hosts: readonly VirtualHost[]): ReadonlySet<string> {
  const names = hosts.flatMap(({ routes, defaultBackend }) => [
    ...routes.map((route) => route.upstream),
    ...(defaultBackend ? [defaultBackend.upstream] : []),
  ]);
  return new Set(names);
}
