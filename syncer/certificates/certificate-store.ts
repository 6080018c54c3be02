import type { Finding, WantedHost } from './wanted.ts';
import type { Zone } from './zones.ts';

/** A way by which the hosts of a zone come to a certificate. */
export interface CertificateStore {
  /**
   * Does what can be done for these hosts, and tells what could not. Without any change it costs no
   * call, so it may be called as often as one likes.
   *
   * @param hosts every host of the zone, so that what is of none of them is not needed any more
   * @throws CloudflareError when Cloudflare could not be asked; calling again goes on
   * @throws FencedOff
   */
  cover(zone: Zone, hosts: readonly WantedHost[]): Promise<readonly Finding[]>;
}
