import { RE2JS } from 're2js';
import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import type { Header } from '../http1/message.ts';
import { Authorities, commonNamesOf, readCertificate } from './authorities.ts';
import { headerName } from './distinguished-name.ts';
import { escapedPem, type PresentedCertificate } from './presented-certificate.ts';
import type { TrustedClient, TrustedClients } from './trusted-clients.ts';

/** What a host's policy makes of a request. */
export interface ClientVerdict {
  /** Which check failed, for the log; null for a client that may use the host. */
  readonly refusal: string | null;
  /** What the upstream is told: `ssl-client-*`, as ingress-nginx names them. */
  readonly headers: readonly Header[];
}

/** RFC 5280 (ub-common-name) allows 64; what is far beyond is not worth the time to match it. */
const COMMON_NAME_LENGTH_MAX = 256;

/** A host's {@link ClientCertificatePolicy}, made ready once it is needed, for as long as the shard. */
export class ClientPolicy {
  readonly #policy: ClientCertificatePolicy;
  #authorities: Authorities | null = null;
  /** Null as long as nobody asked; `nothing` for a pattern that is none. */
  #pattern: RE2JS | 'nothing' | null = null;

  constructor(policy: ClientCertificatePolicy) {
    this.#policy = policy;
  }

  judge(
    presented: PresentedCertificate | null,
    trusted: TrustedClients,
    nowMs: number,
  ): ClientVerdict {
    const { verify, commonName } = this.#policy;
    const { result, client } = this.#verified(presented, trusted, nowMs);
    let refusal: string | null = null;
    if (result !== 'SUCCESS' && !(result === 'NONE' && verify === 'optional')) {
      refusal = verify === 'optional_no_ca' ? null : `client certificate: ${result}`;
    }
    if (refusal === null && commonName !== undefined) {
      const names = client?.commonNames ?? commonNamesIn(presented?.der ?? '');
      if (!this.#matches(commonName, names)) refusal = 'client certificate: another common name';
    }
    return { refusal, headers: this.#headers(result, presented) };
  }

  /** `SUCCESS`, `NONE` or `FAILED:` and a reason, as nginx has it in `$ssl_client_verify`. */
  #verified(
    presented: PresentedCertificate | null,
    trusted: TrustedClients,
    nowMs: number,
  ): { readonly result: string; readonly client: TrustedClient | null } {
    if (!presented) return { result: 'NONE', client: null };
    const { verified, isRevoked } = presented;
    const failed = (reason: string) => ({ result: `FAILED:${reason}`, client: null });
    if (verified !== 'SUCCESS') return failed(verified.replace(/^FAILED:?/, '') || 'not verified');
    if (isRevoked) return failed('certificate revoked');
    // Verified it was, but perhaps by what another host trusts: connections are shared by hosts,
    // sessions are resumed, and a zone of Cloudflare has one set of authorities for all its hosts.
    this.#authorities ??= new Authorities(this.#policy.authorities);
    const { depthMax } = this.#policy;
    const client = trusted.find(presented, this.#authorities, depthMax, nowMs);
    return client ? { result: 'SUCCESS', client } : failed('no chain to an authority of this host');
  }

  /**
   * A subject may have several common names, and which one counts differs from reader to reader:
   * whichever the upstream takes, it must match.
   */
  #matches(pattern: string, commonNames: readonly string[]): boolean {
    this.#pattern ??= compiled(pattern);
    const regex = this.#pattern;
    if (regex === 'nothing' || commonNames.length === 0) return false;
    return commonNames.every((it) => it.length <= COMMON_NAME_LENGTH_MAX && regex.matches(it));
  }

  #headers(result: string, presented: PresentedCertificate | null): readonly Header[] {
    const headers: Header[] = [['ssl-client-verify', headerName(result)]];
    if (!presented) return headers;
    const { subject, issuer, der } = presented;
    if (subject !== '') headers.push(['ssl-client-subject-dn', headerName(subject)]);
    if (issuer !== '') headers.push(['ssl-client-issuer-dn', headerName(issuer)]);
    if (this.#policy.passToUpstream && der !== null) {
      headers.push(['ssl-client-cert', escapedPem(der)]);
    }
    return headers;
  }
}

function commonNamesIn(der: string): readonly string[] {
  const certificate = readCertificate(der);
  return certificate ? commonNamesOf(certificate) : [];
}

/** The syncer publishes no pattern that does not compile; should there be one, nobody matches it. */
function compiled(pattern: string): RE2JS | 'nothing' {
  try {
    return RE2JS.compile(pattern);
  } catch {
    return 'nothing';
  }
}
