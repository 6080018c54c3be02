/** Where an authority looks for the answer to a challenge (RFC 8555 section 8.3). */
const CHALLENGES = '/.well-known/acme-challenge/';

/** Whether a request asks for the answer to a challenge, as far as its path says. */
export function isChallenge(path: string): boolean {
  return path.startsWith(CHALLENGES);
}

/** Whether a route of this path gets such requests and no others. */
export function isForChallenges(routePath: string): boolean {
  return `${routePath}/`.startsWith(CHALLENGES);
}
