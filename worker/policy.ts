import { isChallenge, isWholeChallenge } from '../snapshot/acme-challenge.ts';
import type { Upstream } from '../snapshot/types.ts';
import type { AnswerReason } from './answers.ts';
import type { Header } from './http1/message.ts';
import { httpsLocation } from './https-location.ts';
import type { RequestUrl } from './request-url.ts';
import type { HostTable, Match } from './routing-table.ts';
import { presentedCertificate } from './tls/presented-certificate.ts';
import type { TrustedClients } from './tls/trusted-clients.ts';

/** What is done with a request before anybody looks for an endpoint. */
export type Decision =
  | Forward
  | { readonly kind: 'redirect'; readonly location: string }
  | { readonly kind: 'refuse'; readonly reason: AnswerReason; readonly cause: string | null };

export interface Forward {
  readonly kind: 'forward';
  readonly upstream: Upstream;
  /** What the upstream is told of the client's certificate. */
  readonly certificate: readonly Header[];
}

export interface Facts {
  readonly request: Request;
  readonly url: RequestUrl;
  /** The host as the client named it. */
  readonly host: string;
  /** The one that its connection was opened for, if that is known and another. */
  readonly openedFor: HostTable | null;
  readonly httpsPort: number;
  readonly trusted: TrustedClients;
  readonly nowMs: number;
}

const NO_ROUTE: Decision = { kind: 'refuse', reason: 'NoRoute', cause: null };

/** Applies the policies of a host, in the order in which they are written here. */
export function decide(match: Match, facts: Facts): Decision {
  if (match.kind === 'no-host') return NO_ROUTE;
  const { host } = match;
  const { url, openedFor } = facts;
  if (openedFor && isOfAnother(openedFor, host)) return misdirected(openedFor, host);
  if (match.kind === 'no-path') return NO_ROUTE;
  const { destination, upstream, isForChallenges } = match.target;
  if (destination.httpsOnly && url.scheme === 'http' && !isChallenge(url.path)) {
    return toHttps(facts);
  }
  if (!host.clients) return { kind: 'forward', upstream, certificate: [] };
  const { request, trusted, nowMs } = facts;
  // Without TLS nobody has shown anything, whatever is said.
  const presented = url.scheme === 'https' ? presentedCertificate(request.cf) : null;
  const { refusal, headers } = host.clients.judge(presented, trusted, nowMs);
  // The authority that checks a challenge has no certificate of ours. What serves it is a route of
  // its own: by its path alone a request could get to all that another route serves.
  if (isForChallenges && isWholeChallenge(url.path))
    return { kind: 'forward', upstream, certificate: headers };
  // The connection's host may have asked for no certificate or for another: on one that is opened
  // for this host the client will be asked (RFC 9110 section 15.5.20; nginx does the same).
  if (openedFor && openedFor.hostname !== host.hostname) return misdirected(openedFor, host);
  if (refusal !== null) return { kind: 'refuse', reason: 'ClientRefused', cause: refusal };
  return { kind: 'forward', upstream, certificate: headers };
}

/** Nobody's host, the one of the controller's own default backend, is no tenant's to protect. */
function isOfAnother(openedFor: HostTable, host: HostTable): boolean {
  return openedFor.owner !== host.owner && openedFor.owner !== '' && host.owner !== '';
}

function misdirected(openedFor: HostTable, host: HostTable): Decision {
  const cause = `the connection is for ${openedFor.hostname} of namespace ${openedFor.owner}`;
  return {
    kind: 'refuse',
    reason: 'Misdirected',
    cause: `${cause}, the request for ${host.hostname} of namespace ${host.owner}`,
  };
}

function toHttps({ host, url, httpsPort }: Facts): Decision {
  const location = httpsLocation(host, url, httpsPort);
  if (location !== null) return { kind: 'redirect', location };
  return { kind: 'refuse', reason: 'BadRequest', cause: 'the host is no name and no address' };
}

/**
 * Sets a host's `Strict-Transport-Security` on an answer over TLS in the place of any other (RFC
 * 6797 section 7.1), and lets none through without TLS (section 7.2).
 */
export function withTransportSecurity(
  response: Response,
  { strictTransportSecurity }: HostTable,
  { scheme }: RequestUrl,
): Response {
  if (strictTransportSecurity === null) return response;
  if (scheme === 'https') {
    response.headers.set('strict-transport-security', strictTransportSecurity);
  } else {
    response.headers.delete('strict-transport-security');
  }
  return response;
}
