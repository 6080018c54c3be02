import type { PathMatch } from './types.ts';

/** Ascending by UTF-16 code unit: the same in every locale and on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const RANK: Record<PathMatch['type'], number> = { Exact: 0, Prefix: 1 };

/**
 * The order in which the routes of one host are tried: Exact before Prefix, the longer path before
 * the shorter, equals by text (which never decides a request: two different paths of one length
 * cannot both match). Negative when `a` comes first.
 */
export function comparePathMatches(a: PathMatch, b: PathMatch): number {
  return (
    RANK[a.type] - RANK[b.type] || b.path.length - a.path.length || compareText(a.path, b.path)
  );
}
