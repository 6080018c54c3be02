import { CLOUDFLARE_IPV4_CIDRS, CLOUDFLARE_IPV6_CIDRS } from '../snapshot/address.ts';

/**
 * The part of the network that production's `connect()` reaches, as a service binding of
 * Miniflare. workerd holds every address that a name resolves to against these ranges, and refuses
 * in production's own words; a worker alone could not, for it cannot learn what a name resolves to
 * (`opened` repeats the name, and `node:dns` asks a server on the Internet).
 *
 * `public` leaves out private, loopback, link-local, unspecified, multicast and reserved addresses
 * (workerd.capnp, `Network.allow`).
 */
export const PRODUCTION_NETWORK = {
  network: { allow: ['public'], deny: [...CLOUDFLARE_IPV4_CIDRS, ...CLOUDFLARE_IPV6_CIDRS] },
};
