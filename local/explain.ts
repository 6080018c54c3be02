import { isChallenge } from '../snapshot/acme-challenge.ts';
import { hostnameCandidates, normaliseHost } from '../snapshot/hostname.ts';
import type { PathMatch } from '../snapshot/types.ts';
import { describeClaim, type JudgedClaim, precedes } from '../syncer/compile/merge.ts';
import type { Compilation } from '../syncer/compile.ts';
import { describeRef, refOf } from '../syncer/kubernetes/objects.ts';
import { parseRequestUrl, type RequestUrl } from '../worker/request-url.ts';
import { match, routingTable, type Target } from '../worker/routing-table.ts';

export interface Explanation {
  readonly url: string;
  readonly status: 200 | 308 | 404 | 503;
  /** Null when nothing serves the URL. */
  readonly winner: Candidate | null;
  readonly endpoints: readonly string[];
  readonly summary: string;
  readonly losers: readonly (Candidate & { readonly because: string })[];
}

export interface Candidate {
  /** `Ingress default/web spec.rules[0].http.paths[1]` */
  readonly claim: string;
  /** `Prefix /a of example.com` */
  readonly rule: string;
  readonly upstream: string;
}

/**
 * Which route serves a URL and why not the others: the verdict comes from the worker's own matcher,
 * the reasons from the claims.
 * @throws Error when `url` is no http or https URL.
 */
export function explain(url: string, compilation: Compilation): Explanation {
  const { snapshot, claims, ignored } = compilation;
  const parsed = parseRequestUrl(url.replace(/^[a-z]+:/i, (scheme) => scheme.toLowerCase()));
  if (!parsed) throw new Error(`"${url}" is not a URL such as http://example.com/path`);
  const host = normaliseHost(parsed.authority);
  const known = new Set(snapshot.virtualHosts.map((it) => it.hostname));
  const decided = hostnameCandidates(host).find((candidate) => known.has(candidate)) ?? null;
  const matched = match(routingTable(snapshot), host, parsed.path);
  const target = matched.kind === 'route' ? matched.target : null;
  const winner = target && winnerOf(target, host, parsed.path, claims);
  const related = claims.filter((claim) => hostnameCandidates(host).includes(claim.hostname));
  const losers = related
    .filter((claim) => claim !== winner)
    .map((claim) => ({
      ...candidate(claim),
      because: whyNot(claim, among(claim, decided, compilation), host, parsed.path, winner),
    }));
  const strangers = ignored.map(({ ingress, because }) => ({
    claim: describeRef(refOf(ingress)),
    rule: 'all its rules',
    upstream: '-',
    because: `not ours: ${because}`,
  }));
  const endpoints = (target?.upstream.endpoints ?? []).map((it) => `${it.host}:${it.port}`);
  return {
    url,
    ...outcome(host, decided, parsed, target, endpoints),
    winner: winner ? candidate(winner) : null,
    endpoints,
    losers: [...losers, ...strangers],
  };
}

/**
 * The host whose routes a claim is among: the one that decides, or its own where that one has kept
 * what its wildcard serves.
 */
function among(
  { hostname, match, ingress }: JudgedClaim,
  decided: string | null,
  { snapshot: { virtualHosts }, claims }: Pick<Compilation, 'snapshot' | 'claims'>,
): string | null {
  const isSame = (other: PathMatch | null) =>
    other?.type === match?.type && other?.path === match?.path;
  const isOwn = ({ hostname, match: own, verdict }: JudgedClaim) =>
    hostname === decided && verdict.kind === 'won' && isSame(own);
  if (claims.some(isOwn)) return decided;
  const { routes = [], defaultBackend } = virtualHosts.find((it) => it.hostname === decided) ?? {};
  const kept = match ? routes.filter((it) => isSame(it.match)) : [defaultBackend];
  const source = describeRef(refOf(ingress));
  return kept.some((it) => it && describeRef(it.source) === source) ? hostname : decided;
}

/** What a client gets, and why. */
function outcome(
  host: string,
  decided: string | null,
  { scheme, path }: RequestUrl,
  target: Target | null,
  endpoints: readonly string[],
): Pick<Explanation, 'status' | 'summary'> {
  if (!decided) {
    const summary = `404: no Ingress names the host ${host}, and there is no catch-all`;
    return { status: 404, summary };
  }
  if (!target) {
    const summary = `404: host ${decided} exists, and none of its paths matches`;
    return { status: 404, summary };
  }
  const { upstream, source, httpsOnly } = target.destination;
  const by = `${upstream}, asked for by ${describeRef(source)}`;
  if (httpsOnly && scheme === 'http' && !isChallenge(path)) {
    return { status: 308, summary: `308: sent to https, which is served by ${by}` };
  }
  if (endpoints.length === 0)
    return { status: 503, summary: `503: ${by}, has no endpoint to dial` };
  return { status: 200, summary: `served by ${by}, at ${endpoints.join(', ')}` };
}

function candidate({ ingress, field, hostname, match, upstream }: JudgedClaim): Candidate {
  const claim = `${describeRef(refOf(ingress))} ${field}`;
  return { claim, rule: describeClaim({ hostname, match }), upstream };
}

/**
 * The claim that the matcher's answer came from. It is one of the host that decides, except where
 * that one is named for challenges only (see syncer/compile/challenge-hosts.ts).
 */
function winnerOf(
  { destination: { source } }: Target,
  host: string,
  path: string,
  claims: readonly JudgedClaim[],
): JudgedClaim | null {
  for (const candidate of hostnameCandidates(host)) {
    const best = claims.find((claim) => isWinner(claim, candidate, path, claims));
    if (best && describeRef(refOf(best.ingress)) === describeRef(source)) return best;
  }
  return null;
}

/** The best of the claims of a host that won and match. */
function isWinner(
  claim: JudgedClaim,
  decided: string | null,
  path: string,
  claims: readonly JudgedClaim[],
): boolean {
  if (claim.verdict.kind !== 'won' || claim.hostname !== decided || !applies(claim, path))
    return false;
  return !claims.some(
    (other) =>
      other.verdict.kind === 'won' &&
      other.hostname === decided &&
      applies(other, path) &&
      rank(other.match) > rank(claim.match),
  );
}

function applies({ match }: JudgedClaim, path: string): boolean {
  if (match === null) return true;
  if (match.type === 'Exact') return match.path === path;
  return match.path === '/' || path === match.path || path.startsWith(`${match.path}/`);
}

function rank(match: PathMatch | null): number {
  if (match === null) return -1;
  return match.type === 'Exact' ? Number.POSITIVE_INFINITY : match.path.length;
}

function whyNot(
  claim: JudgedClaim,
  decided: string | null,
  host: string,
  path: string,
  winner: JudgedClaim | null,
): string {
  const { verdict, match, hostname } = claim;
  switch (verdict.kind) {
    case 'conflict':
      return `${describeRef(refOf(verdict.winner.ingress))} claims the same and ${precedes(verdict.winner, claim)}`;
    case 'same':
      return `${describeRef(refOf(verdict.winner.ingress))} claims the same for the same Service and ${precedes(verdict.winner, claim)}`;
    case 'foreign-host':
      return `the host belongs to namespace ${verdict.owner} and ${verdict.because}`;
    case 'won':
      break;
    default:
      return verdict satisfies never;
  }
  const order = hostnameCandidates(host);
  if (decided !== null && order.indexOf(hostname) > order.indexOf(decided))
    return `host ${decided} is more specific, and a host never falls through`;
  if (!applies(claim, path)) return `path ${path} does not match ${match?.type} ${match?.path}`;
  if (match === null) return 'a default backend serves only what no path matches';
  if (winner?.match?.type === 'Exact') return 'an Exact path comes before a Prefix';
  return `the prefix ${winner?.match?.path} is longer`;
}
