import type { RandomBackend, RandomIngress, RandomPath, RandomService } from './random-cluster.ts';

/**
 * Where a request goes, by the letter of the documentation of networking.k8s.io/v1 and of our
 * design, in the plainest form and from the objects themselves. It shares nothing with the compiler
 * and the matcher, is as slow as it likes, and is right.
 */
export function oracle(
  ingresses: readonly RandomIngress[],
  services: readonly RandomService[],
  url: URL,
  authority: string,
): string {
  const ours = ingresses
    .filter((ingress) => ingress.spec.ingressClassName === 'causeway')
    .sort(oldestFirst);
  const host = authority.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase();
  // "Precise matches", then wildcards, then rules without a host; the first kind that there is.
  for (const applies of [isPrecisely, isCoveredBy, isAny]) {
    const scopes = ours.map((ingress) => scopeOf(ingress, (rule) => applies(rule, host)));
    if (scopes.some((scope) => scope.isNamed)) return route(scopes, services, url.pathname);
  }
  return '404 NoRoute';
}

/** What one Ingress says about the hosts in question. */
interface Scope {
  readonly namespace: string;
  /** Whether it names the host at all. */
  readonly isNamed: boolean;
  readonly paths: readonly RandomPath[];
  readonly defaultBackend: RandomBackend | null;
}

function scopeOf(
  { metadata, spec }: RandomIngress,
  applies: (host: string | undefined) => boolean,
): Scope {
  const rules = spec.rules.filter(({ host }) => isValidHost(host) && applies(host));
  // Without any rules, the default backend handles all requests that match no host.
  const isNamed =
    rules.length > 0 || (spec.rules.length === 0 && !!spec.defaultBackend && applies(undefined));
  return {
    namespace: metadata.namespace,
    isNamed,
    paths: rules.flatMap((rule) => rule.http?.paths ?? []).filter(({ path }) => isValidPath(path)),
    defaultBackend: (isNamed && spec.defaultBackend) || null,
  };
}

function route(
  scopes: readonly Scope[],
  services: readonly RandomService[],
  requestPath: string,
): string {
  const all = scopes.flatMap(({ namespace, paths }) =>
    paths.map((rule) => ({ namespace, ...rule, path: encoded(rule.path) })),
  );
  // "Precedence will be given first to an exact path type over a prefix path type"; of equal rules
  // the first stands, since they are sorted by age.
  const exact = all.find(({ pathType, path }) => pathType === 'Exact' && path === requestPath);
  if (exact) return answer(exact.namespace, exact.backend, services);
  // "... and the longest matching path".
  let longest: (typeof all)[number] | null = null;
  for (const candidate of all) {
    if (candidate.pathType === 'Exact' || !isPrefix(candidate.path, requestPath)) continue;
    if (!longest || elements(candidate.path).length > elements(longest.path).length) {
      longest = candidate;
    }
  }
  if (longest) return answer(longest.namespace, longest.backend, services);
  const withDefault = scopes.find((scope) => scope.defaultBackend);
  if (!withDefault?.defaultBackend) return '404 NoRoute';
  return answer(withDefault.namespace, withDefault.defaultBackend, services);
}

function answer(
  namespace: string,
  { service }: RandomBackend,
  services: readonly RandomService[],
): string {
  const found = services.find(
    ({ metadata }) => metadata.namespace === namespace && metadata.name === service.name,
  );
  if (!found) return '503 NoEndpoints';
  const { port } = service;
  // An ExternalName is a CNAME: it has every number, and the names that it declares.
  const number =
    'number' in port ? port.number : found.spec.ports.find((it) => it.name === port.name)?.port;
  if (number === undefined) return '503 NoEndpoints';
  return `${namespace}/${service.name}/${number} [origin.example:${number}]`;
}

function oldestFirst({ metadata: a }: RandomIngress, { metadata: b }: RandomIngress): number {
  const ageA = a.creationTimestamp ?? '9999';
  const ageB = b.creationTimestamp ?? '9999';
  if (ageA !== ageB) return ageA < ageB ? -1 : 1;
  return `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1;
}

function isPrecisely(rule: string | undefined, host: string): boolean {
  return rule?.toLowerCase() === host;
}

/** `*.foo.com` covers `bar.foo.com`, neither `baz.bar.foo.com` nor `foo.com`: one label exactly. */
function isCoveredBy(rule: string | undefined, host: string): boolean {
  if (!rule?.startsWith('*.')) return false;
  const [first, ...rest] = host.split('.');
  return first !== '' && rule.slice(2).toLowerCase() === rest.join('.');
}

function isAny(rule: string | undefined): boolean {
  return rule === undefined;
}

/** "Matching is done on a path element by element basis"; a trailing slash is ignored. */
function isPrefix(rulePath: string, requestPath: string): boolean {
  const wanted = elements(rulePath);
  const given = requestPath.slice(1).split('/');
  return wanted.every((element, index) => element === given[index]);
}

function elements(path: string): readonly string[] {
  return path
    .replace(/\/$/, '')
    .split('/')
    .filter((_, index) => index > 0);
}

/** A rule is written in Unicode, a request in ASCII. */
function encoded(path: string): string {
  return path.replace(/[^\x21-\x7e]/gu, encodeURIComponent);
}

function isValidHost(host: string | undefined): boolean {
  return host === undefined || !/_|^[\d.]+$/.test(host);
}

function isValidPath(path: string): boolean {
  return !path.includes('//') && !path.split('/').includes('.');
}
