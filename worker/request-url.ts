/** The parts of a request's URL in the one form that matching, policy and forwarding share. */
export interface RequestUrl {
  readonly scheme: 'http' | 'https';
  /** As sent, with port. */
  readonly authority: string;
  /** Absolute, without dot segments or backslashes. */
  readonly path: string;
  /** With its `?`; byte for byte as far as bytes may stand there; empty when there is none. */
  readonly search: string;
}

/** Characters the URL standard leaves alone in a path; `%` counts, since we decode nothing. */
const PLAIN_PATH = /^[A-Za-z0-9\-._~!$&'()*+,;=:@%/|[\]]*$/;
/** A segment that is `.` or `..`, in any spelling. */
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|$)/i;
/** What may not stand in a request line; workerd lets UTF-8 through. */
const NOT_VISIBLE = /[^\x21-\x7e]+/g;

/**
 * Takes apart `Request.url`. workerd hands the request line over as the client wrote it, so dot
 * segments, backslashes and characters that do not belong into a path are still in it: those are
 * resolved as the URL standard says. All other paths stay byte for byte. Returns null for what is
 * no absolute URL (`OPTIONS *`).
 */
export function parseRequestUrl(url: string): RequestUrl | null {
  const scheme = url.startsWith('https://') ? 'https' : 'http';
  const start = scheme.length + 3;
  if (!url.startsWith('://', scheme.length) || !url.startsWith(scheme)) return null;
  let end = url.indexOf('#', start);
  if (end < 0) end = url.length;
  let query = url.indexOf('?', start);
  if (query < 0 || query > end) query = end;
  let slash = url.indexOf('/', start);
  if (slash < 0 || slash > query) slash = query;
  const authority = url.slice(start, slash);
  if (authority === '') return null;
  const search = url.slice(query, end).replace(NOT_VISIBLE, percentEncoded);
  const raw = slash === query ? '/' : url.slice(slash, query);
  if (PLAIN_PATH.test(raw) && !DOT_SEGMENT.test(raw)) {
    return { scheme, authority, path: raw, search };
  }
  // The query's mark keeps blanks at the end of the path: a URL sheds those at its own.
  return { scheme, authority, path: new URL(`http://host${raw}?`).pathname, search };
}

/** As in a path, in which `é` and `%C3%A9` are one. */
function percentEncoded(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
