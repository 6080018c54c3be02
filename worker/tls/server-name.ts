import { normaliseHost } from '../../snapshot/hostname.ts';
import type { Hostname } from '../../snapshot/types.ts';

/**
 * The host for which the client opened its connection (RFC 6066 section 3), as the local gateway's
 * front tells it. Null when nobody tells: Cloudflare does not, and a client need not name any.
 */
export function serverNameOf(request: Request): Hostname | null {
  const name: unknown = request.cf?.tlsServerName;
  return typeof name === 'string' && name !== '' ? normaliseHost(name) : null;
}
