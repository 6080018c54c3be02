/** Where an authority looks for the answer to a challenge (RFC 8555 section 8.3). */
const CHALLENGES = '/.well-known/acme-challenge/';

/** Whether a request asks for the answer to a challenge, as far as its path says. */
export function isChallenge(path: string): boolean {
  return path.startsWith(CHALLENGES);
}

/** The whole path of one: a token is of base64url's letters (RFC 8555 section 8.3). */
const CHALLENGE = /^\/\.well-known\/acme-challenge\/[\w-]+$/;

/**
 * Whether the path can be nothing but a challenge's: an application that has the folder in its own
 * routes may take `..%2f..%2fadmin` or `..;/` in it for a way out.
 */
export function isWholeChallenge(path: string): boolean {
  return CHALLENGE.test(path);
}

/** Whether a route of this path gets such requests and no others. */
export function isForChallenges(routePath: string): boolean {
  return `${routePath}/`.startsWith(CHALLENGES);
}
