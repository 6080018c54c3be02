import { connection } from './connections.ts';

/**
 * `fetch()` as it is in production: "requests can only be made to URLs, not to IP addresses
 * directly" (https://developers.cloudflare.com/workers/platform/known-issues/#fetch-to-ip-addresses).
 * And it waits for its turn.
 */
export function productionFetch(inner: typeof fetch): typeof fetch {
  return (input, init) => {
    if (namesAddress(input instanceof Request ? input.url : input)) return directAccess();
    return connection(async () => {
      const response = await inner(input, init);
      // A redirect is a request like any other. This one we see only when it was followed.
      if (!response.redirected || !namesAddress(response.url)) return response;
      await response.body?.cancel();
      return directAccess();
    });
  };
}

/** What the URL standard does not read is left to `fetch()` to refuse. */
function namesAddress(url: URL | string): boolean {
  // The parser has made four decimal numbers of whatever inet_aton would read as an address.
  const hostname = URL.parse(url)?.hostname ?? '';
  return hostname.startsWith('[') || /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
}

/** https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/error-1003/ */
async function directAccess(): Promise<Response> {
  const headers = { 'content-type': 'text/plain; charset=UTF-8', server: 'cloudflare' };
  return new Response('error code: 1003', { status: 403, headers });
}
