import { isForChallenges } from '../../snapshot/acme-challenge.ts';
import { hostnameCandidates } from '../../snapshot/hostname.ts';
import { comparePathMatches } from '../../snapshot/precedence.ts';
import type { Hostname, Route, VirtualHost } from '../../snapshot/types.ts';

/**
 * A host that is named for nothing but the answers to challenges (RFC 8555 section 8.3), as by
 * cert-manager for some seconds, goes on being served by the wildcard or catch-all host that serves
 * it otherwise, if that is of the same namespace: a renewal must not take an application away. All
 * other hosts stay as they are, and never fall through.
 */
export function keepServed(hosts: readonly VirtualHost[]): readonly VirtualHost[] {
  const byName = new Map(hosts.map((host) => [host.hostname, host]));
  return hosts.map((host) => {
    if (!isForChallengesOnly(host)) return host;
    const parent = servingOtherwise(host.hostname, byName);
    if (!parent || parent.owner !== host.owner) return host;
    // Whoever may not use the other host may not use it by this name.
    return { ...parent, hostname: host.hostname, routes: merged(host.routes, parent.routes) };
  });
}

/** The controller's own default backend, which serves every host, is nobody's wish for this one. */
function isForChallengesOnly({ routes, defaultBackend }: VirtualHost): boolean {
  if (routes.length === 0 || defaultBackend?.source.kind === 'Ingress') return false;
  return routes.every(({ match }) => isForChallenges(match.path));
}

function servingOtherwise(
  hostname: Hostname,
  byName: ReadonlyMap<Hostname, VirtualHost>,
): VirtualHost | null {
  for (const candidate of hostnameCandidates(hostname)) {
    const host = candidate === hostname ? undefined : byName.get(candidate);
    if (host) return host;
  }
  return null;
}

/** In order of precedence, without those of the other host that would be there twice. */
function merged(own: readonly Route[], others: readonly Route[]): readonly Route[] {
  const key = ({ match: { type, path } }: Route) => `${type} ${path}`;
  const taken = new Set(own.map(key));
  const all = [...own, ...others.filter((it) => !taken.has(key(it)))];
  return all.sort((a, b) => comparePathMatches(a.match, b.match));
}
