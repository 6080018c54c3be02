import type { Hostname } from '../snapshot/types.ts';
import type { RequestUrl } from './request-url.ts';

const HTTPS_PORT_DEFAULT = 443;
/** Letters, digits and hyphens, and the underscore that some names have all the same. */
const NAME = /^[a-z0-9._-]+$/;
/** What stands between the brackets of an IPv6 address. */
const IPV6 = /^[0-9a-f:.]+$/;

/**
 * The URL of the same resource over https. It names the host that was matched and not the authority
 * that the client wrote: `a.example:80@b.example` is not what browsers take it for. Null when the
 * host is no name and no address, and could end where another begins.
 */
export function httpsLocation(host: Hostname, url: RequestUrl, port: number): string | null {
  const isName = NAME.test(host);
  if (!isName && !IPV6.test(host)) return null;
  const authority = isName ? host : `[${host}]`;
  const suffix = port === HTTPS_PORT_DEFAULT ? '' : `:${port}`;
  // Of characters that may stand in a header: the path and the query were made so.
  return `https://${authority}${suffix}${url.path}${url.search}`;
}
