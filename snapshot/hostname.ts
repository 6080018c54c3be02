import { CATCH_ALL_HOST, type Hostname } from './types.ts';

/**
 * The canonical form of a `Host` header or of a URL's authority: lower-case, without port and
 * without trailing dot (RFC 9110 section 4.2.3; the port plays no part in Ingress routing).
 */
export function normaliseHost(authority: string): Hostname {
  let host = authority.toLowerCase();
  if (host.startsWith('[')) {
    const close = host.indexOf(']');
    return close < 0 ? host : host.slice(1, close);
  }
  const colon = host.indexOf(':');
  if (colon >= 0) host = host.slice(0, colon);
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

/**
 * The hosts that may serve `host`, best first: itself, its one-label wildcard, the catch-all. The
 * first that exists decides; a host never falls through to the next for want of a path.
 */
export function hostnameCandidates(host: Hostname): readonly Hostname[] {
  const wildcard = wildcardFor(host);
  return wildcard === null ? [host, CATCH_ALL_HOST] : [host, wildcard, CATCH_ALL_HOST];
}

/** The wildcard that `host` is below; null where there can be none. */
export function wildcardFor(host: Hostname): Hostname | null {
  const dot = host.indexOf('.');
  // A wildcard stands for one label that is there: ".example.com" has none.
  return dot > 0 ? `*${host.slice(dot)}` : null;
}

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/**
 * Whether Kubernetes would accept this as `IngressRule.host` (RFC 1123 subdomain, optionally with
 * a first label `*`; IP addresses are refused, as the API's validation does).
 */
export function isIngressHost(host: string): boolean {
  if (host.length > 253) return false;
  const labels = (host.startsWith('*.') ? host.slice(2) : host).split('.');
  if (labels.length === 4 && labels.every((label) => /^\d+$/.test(label))) return false;
  return labels.every((label) => label.length <= 63 && LABEL.test(label));
}
