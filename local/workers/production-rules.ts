import { productionFetch } from './production-rules/fetch.ts';
import { productionGateway } from './production-rules/gateway.ts';
import { takingUnwantedBodies } from './unwanted-body.ts';

/**
 * The worker of production for `causeway dev --production-rules`: it runs unchanged, but where
 * Cloudflare refuses what workerd on a laptop allows, this refuses as well, in the same words.
 *
 * - `fetch()` to an IP address: production-rules/fetch.ts
 * - `connect()` to what is not public, and to port 25: production-rules/connect.ts, and for names
 *   that resolve to it ../production-network.ts
 * - more than six connections that wait for an answer: production-rules/connections.ts
 * - KV that shows a write at once: production-rules/stale-kv.ts
 *
 * Not imitated, as the worker uses none of it: the Cache API, `new WebSocket(url)`, service
 * bindings, and the limits on CPU time, memory and the number of subrequests.
 */
globalThis.fetch = productionFetch(fetch);

export default takingUnwantedBodies(
  productionGateway(({ NETWORK }) => ({
    connect: (address, options) => NETWORK.connect(address, options),
    now: Date.now,
  })),
);
