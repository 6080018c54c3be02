import type { Hostname } from '../../snapshot/types.ts';
import { describeRef, type Ingress, refOf } from '../kubernetes/objects.ts';
import { annotationField, asksForClients, type IngressAnnotations } from './annotations.ts';
import type { Claim, IngressClaims } from './claims.ts';
import type { CompileOptions } from './options.ts';
import type { Problems } from './problems.ts';

/** A claim with what became of it. */
export interface JudgedClaim extends Claim {
  /** The Service port behind it. */
  readonly upstream: string;
  readonly verdict: Verdict;
}

export type Verdict =
  | { readonly kind: 'won' }
  /** An older claim to the same host and path leads to the same Service port. */
  | { readonly kind: 'same'; readonly winner: Claim }
  | { readonly kind: 'conflict'; readonly winner: Claim }
  /** `because`: why its own namespace alone may route there, as a clause. */
  | { readonly kind: 'foreign-host'; readonly owner: string; readonly because: string };

/**
 * Decides between claims to the same host and path. What is asked for comes oldest Ingress first,
 * and the first keeps what it claims; neither loser nor winner goes without a word.
 */
export function judge(
  asked: readonly IngressClaims[],
  owners: ReadonlyMap<Hostname, string>,
  upstreamOf: (claim: Claim) => string,
  optionsOf: (ingress: Ingress) => CompileOptions,
  problems: Problems,
): readonly JudgedClaim[] {
  const winners = new Map<string, JudgedClaim>();
  const claims = asked.flatMap(({ annotations, claims: all }) =>
    all.map((claim) => ({ claim, annotations })),
  );
  return claims.map(({ claim, annotations }) => {
    const owner = owners.get(claim.hostname) ?? claim.ingress.namespace;
    const upstream = upstreamOf(claim);
    const isForeign = owner !== claim.ingress.namespace;
    const because = isForeign ? objection(optionsOf(claim.ingress), annotations) : null;
    if (because !== null) {
      reportForeignHost(claim, owner, because, problems);
      return { ...claim, upstream, verdict: { kind: 'foreign-host', owner, because } };
    }
    const key = `${claim.hostname} ${claim.match?.type ?? 'default'} ${claim.match?.path ?? ''}`;
    const winner = winners.get(key);
    if (!winner) {
      const won: JudgedClaim = { ...claim, upstream, verdict: { kind: 'won' } };
      winners.set(key, won);
      return won;
    }
    if (winner.upstream === upstream) {
      return { ...claim, upstream, verdict: { kind: 'same', winner } };
    }
    reportConflict(claim, upstream, winner, problems);
    return { ...claim, upstream, verdict: { kind: 'conflict', winner } };
  });
}

/** What stands against a route on a host of another namespace. */
function objection(
  { hostOwnership }: CompileOptions,
  annotations: IngressAnnotations,
): string | null {
  if (hostOwnership === 'strict') return 'hostOwnership is strict';
  // Handshakes know no path, so the guard would be for all of the host; without it the door is open.
  const guard = annotationField('authTlsSecret');
  return asksForClients(annotations) ? `only that namespace can set ${guard}` : null;
}

/**
 * The namespace that named a host first, also if nothing of what it asked for there can be served:
 * a mistake of the owner must not give its host away.
 */
export function hostOwners(asked: readonly IngressClaims[]): ReadonlyMap<Hostname, string> {
  const owners = new Map<Hostname, string>();
  for (const { ingress, hosts, claims } of asked) {
    for (const host of [...hosts, ...claims.map((claim) => claim.hostname)]) {
      if (!owners.has(host)) owners.set(host, ingress.namespace);
    }
  }
  return owners;
}

/** `Prefix example.com/a`, `the default backend of example.com`. */
export function describeClaim({ hostname, match }: Pick<Claim, 'hostname' | 'match'>): string {
  const host = hostname === '*' ? 'every other host' : hostname;
  return match ? `${match.type} ${match.path} of ${host}` : `the default backend of ${host}`;
}

function reportConflict(
  claim: Claim,
  upstream: string,
  winner: JudgedClaim,
  problems: Problems,
): void {
  const what = describeClaim(claim);
  problems.add(
    refOf(claim.ingress),
    'RouteConflict',
    `${claim.field}: ${what} is served by ${describeRef(refOf(winner.ingress))} (${winner.upstream}), which ${precedes(winner, claim)}; this claim to ${upstream} is not served`,
  );
  problems.add(
    refOf(winner.ingress),
    'RouteConflictWon',
    `${winner.field}: ${what} is also claimed by ${describeRef(refOf(claim.ingress))} (${upstream}), which is not served`,
  );
}

/** Why one claim comes before another, as a predicate. */
export function precedes(winner: Claim, loser: Claim): string {
  if (winner.ingress === loser.ingress) return 'comes first in it';
  if (winner.ingress.createdAtMs < loser.ingress.createdAtMs) return 'is older';
  return 'is as old and comes first by name';
}

function reportForeignHost(claim: Claim, owner: string, because: string, problems: Problems): void {
  problems.add(
    refOf(claim.ingress),
    'HostOwned',
    `${claim.field}: host ${claim.hostname} belongs to namespace ${owner}, which claimed it first, and ${because}; ${describeClaim(claim)} is not served`,
  );
}
