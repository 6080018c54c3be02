import type { PathMatch } from './types.ts';

/**
 * The path of a rule in the form in which requests carry theirs. A request's path reaches the
 * matcher as the URL standard writes it (non-ASCII and a few other characters percent-encoded), so
 * a rule `/föö` has to be `/f%C3%B6%C3%B6`. Returns the reason when there is no such form.
 */
export function canonicalRulePath(
  path: string,
): { readonly path: string } | { readonly error: string } {
  if (!path.startsWith('/')) return { error: 'must begin with "/"' };
  if (/[?#]/.test(path)) return { error: 'must not contain "?" or "#"' };
  if (/[\p{Cc}\\]/u.test(path)) return { error: 'must not contain control characters or "\\"' };
  if (path.includes('//')) return { error: 'must not contain "//"' };
  if (/%2f|%5c/i.test(path)) return { error: 'must not contain an encoded slash' };
  if (/(^|\/)(\.|%2e){1,2}(\/|$)/i.test(path)) {
    return { error: 'must not contain "." or ".." as a segment' };
  }
  if (!path.isWellFormed()) return { error: 'is not well-formed Unicode' };
  // The URL standard drops a space at the end; in a request it stands as %20.
  return { path: new URL(`http://host${path.replaceAll(' ', '%20')}`).pathname };
}

/** `Prefix` ignores a trailing slash in the rule (networking.k8s.io/v1 `PathTypePrefix`). */
export function pathMatch(type: PathMatch['type'], path: string): PathMatch {
  if (type === 'Exact') return { type, path };
  let end = path.length;
  while (end > 1 && path.charCodeAt(end - 1) === 0x2f) end--;
  return { type, path: path.slice(0, end) };
}
