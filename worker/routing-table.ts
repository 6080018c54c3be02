import { isForChallenges } from '../snapshot/acme-challenge.ts';
import { hostnameCandidates } from '../snapshot/hostname.ts';
import type { Destination, Hostname, Shard, Upstream, VirtualHost } from '../snapshot/types.ts';
import { ClientPolicy } from './tls/client-policy.ts';

/** A route's destination with the upstream it names, joined once when the shard is loaded. */
export interface Target {
  readonly destination: Destination;
  readonly upstream: Upstream;
  /** Whether the route is there for ACME challenges and nothing else. */
  readonly isForChallenges: boolean;
}

/** One host, made ready for matching. */
export interface HostTable {
  readonly hostname: Hostname;
  readonly owner: string;
  readonly strictTransportSecurity: string | null;
  readonly clients: ClientPolicy | null;
  readonly exact: ReadonlyMap<string, Target>;
  readonly prefixes: Segment;
  readonly fallback: Target | null;
}

/** A node of the tree of path segments; `/` is the root. */
interface Segment {
  target: Target | null;
  children: Map<string, Segment> | null;
}

export type RoutingTable = ReadonlyMap<Hostname, HostTable>;

export type Match =
  | { readonly kind: 'route'; readonly host: HostTable; readonly target: Target }
  | { readonly kind: 'no-path'; readonly host: HostTable }
  | { readonly kind: 'no-host' };

const NO_HOST: Match = { kind: 'no-host' };

export function routingTable(shard: Shard): RoutingTable {
  const upstreams = new Map(shard.upstreams.map((upstream) => [upstream.name, upstream]));
  return new Map(shard.virtualHosts.map((host) => [host.hostname, hostTable(host, upstreams)]));
}

function hostTable(host: VirtualHost, upstreams: ReadonlyMap<string, Upstream>): HostTable {
  const join = (destination: Destination, path: string): Target | null => {
    const upstream = upstreams.get(destination.upstream);
    return upstream ? { destination, upstream, isForChallenges: isForChallenges(path) } : null;
  };
  const exact = new Map<string, Target>();
  const prefixes: Segment = { target: null, children: null };
  for (const route of host.routes) {
    const { type, path } = route.match;
    const target = join(route, path);
    if (!target) continue;
    if (type === 'Exact') exact.set(path, target);
    else segmentFor(prefixes, path).target = target;
  }
  const { hostname, owner, strictTransportSecurity = null, clientCertificates } = host;
  return {
    hostname,
    owner,
    strictTransportSecurity,
    clients: clientCertificates ? new ClientPolicy(clientCertificates) : null,
    exact,
    prefixes,
    fallback: host.defaultBackend ? join(host.defaultBackend, '/') : null,
  };
}

function segmentFor(root: Segment, path: string): Segment {
  let segment = root;
  for (const name of path.split('/').slice(1)) {
    // Only the root prefix ends in a slash: every other was stored without.
    if (name === '') continue;
    segment.children ??= new Map();
    let child = segment.children.get(name);
    if (!child) {
      child = { target: null, children: null };
      segment.children.set(name, child);
    }
    segment = child;
  }
  return segment;
}

/** Matches in one table; for tables spread over shards see {@link matchPath}. */
export function match(table: RoutingTable, host: Hostname, path: string): Match {
  for (const candidate of hostnameCandidates(host)) {
    const found = table.get(candidate);
    if (found) return matchPath(found, path);
  }
  return NO_HOST;
}

/**
 * Exact, then the longest prefix of whole segments, then the host's default backend. Work and
 * allocation grow with the depth of the rules that match, not with their number.
 */
export function matchPath(host: HostTable, path: string): Match {
  const target = host.exact.get(path) ?? longestPrefix(host.prefixes, path) ?? host.fallback;
  return target ? { kind: 'route', host, target } : { kind: 'no-path', host };
}

function longestPrefix(root: Segment, path: string): Target | null {
  let best = root.target;
  let segment: Segment | undefined = root;
  let start = 1;
  while (segment?.children && start <= path.length) {
    let end = path.indexOf('/', start);
    if (end < 0) end = path.length;
    segment = segment.children.get(path.slice(start, end));
    if (segment?.target) best = segment.target;
    start = end + 1;
  }
  return best;
}
