import { normaliseHost } from '../../snapshot/hostname.ts';
import type { Hostname } from '../../snapshot/types.ts';

/**
 * The host for which the client opened its connection (RFC 6066 section 3), as the local gateway's
 * front tells it in `request.cf`. Null when nobody tells: Cloudflare does not, and a client need not name any.
 */
export function serverNameOf(cf: object | undefined): Hostname | null {
  const name = cf && 'tlsServerName' in cf ? cf.tlsServerName : null;
  return typeof name === 'string' && name !== '' ? normaliseHost(name) : null;
}
