import { isForChallenges } from '../../snapshot/acme-challenge.ts';
import { hostnameCandidates } from '../../snapshot/hostname.ts';
import { comparePathMatches } from '../../snapshot/precedence.ts';
import type { Hostname, Route, VirtualHost } from '../../snapshot/types.ts';
import type { Ingress } from '../kubernetes/objects.ts';

/**
 * A host that is named for nothing but the answers to challenges (RFC 8555 section 8.3), as by
 * cert-manager for some seconds, goes on being served by the wildcard or catch-all host that serves
 * it otherwise, if that is of the same namespace: a renewal must not take an application away. All
 * other hosts stay as they are, and never fall through.
 * @param ours every Ingress of ours
 */
export function keepServed(
  hosts: readonly VirtualHost[],
  ours: readonly Ingress[],
): readonly VirtualHost[] {
  const byName = new Map(hosts.map((host) => [host.hostname, host]));
  const others = namedForOthers(ours);
  return hosts.map((host) => {
    if (!isForChallengesOnly(host) || others.has(nameIn(host.owner, host.hostname))) return host;
    const parent = servingOtherwise(host.hostname, byName);
    if (!parent || parent.owner !== host.owner) return host;
    // Whoever may not use the other host may not use it by this name.
    return { ...parent, hostname: host.hostname, routes: merged(host.routes, parent.routes) };
  });
}

/**
 * Which hosts a namespace names for anything else. What it says wrongly became no route, and yet it
 * is said: such a host has nothing from elsewhere before a challenge, and so none while there is one.
 */
function namedForOthers(ours: readonly Ingress[]): ReadonlySet<string> {
  const names = ours.flatMap(({ namespace, rules }) =>
    rules
      .filter(({ paths }) => paths.length === 0 || !paths.every((it) => isForChallenges(it.path)))
      .map(({ host }) => nameIn(namespace, host.toLowerCase())),
  );
  return new Set(names);
}

function nameIn(namespace: string, hostname: Hostname): string {
  return `${namespace} ${hostname}`;
}

/** The controller's own default backend, which serves every host, is nobody's wish for this one. */
function isForChallengesOnly({ routes, defaultBackend, clientCertificates }: VirtualHost): boolean {
  if (routes.length === 0 || defaultBackend?.source.kind === 'Ingress') return false;
  // Whoever guards it by its name does not mean what others say of another.
  if (clientCertificates) return false;
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
