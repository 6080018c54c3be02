import { compareText } from '../snapshot/precedence.ts';
import type { JudgedClaim } from './compile/merge.ts';

/** A host for each series is much to store, and anybody who may write Ingresses can invent them. */
export const HOSTS_MAX = 50;
/** No hostname has brackets. */
export const OTHER_HOSTS = '(other)';

/**
 * How many claims to each host lost to another's. The hosts with the most have their own number,
 * {@link HOSTS_MAX} at most and by name where they are equal; the others have one together.
 */
export function conflictsByHost(
  claims: readonly Pick<JudgedClaim, 'hostname' | 'verdict'>[],
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { hostname, verdict } of claims) {
    if (verdict.kind === 'won' || verdict.kind === 'same') continue;
    counts.set(hostname, (counts.get(hostname) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([a, n], [b, m]) => m - n || compareText(a, b));
  const byHost = new Map(sorted.slice(0, HOSTS_MAX));
  const others = sorted.slice(HOSTS_MAX).reduce((sum, [, count]) => sum + count, 0);
  if (others > 0) byHost.set(OTHER_HOSTS, others);
  return byHost;
}
