import type { Hostname } from '../../snapshot/types.ts';
import { describeRef, type Ingress, refOf } from '../kubernetes/objects.ts';
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
  | { readonly kind: 'foreign-host'; readonly owner: string };

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
  const claims = asked.flatMap((it) => it.claims);
  return claims.map((claim) => {
    const owner = owners.get(claim.hostname) ?? claim.ingress.namespace;
    const upstream = upstreamOf(claim);
    const { hostOwnership } = optionsOf(claim.ingress);
    if (hostOwnership === 'strict' && owner !== claim.ingress.namespace) {
      reportForeignHost(claim, owner, problems);
      return { ...claim, upstream, verdict: { kind: 'foreign-host', owner } };
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

function reportForeignHost(claim: Claim, owner: string, problems: Problems): void {
  problems.add(
    refOf(claim.ingress),
    'HostOwned',
    `${claim.field}: host ${claim.hostname} belongs to namespace ${owner}, which claimed it first, and hostOwnership is strict; ${describeClaim(claim)} is not served`,
  );
}
