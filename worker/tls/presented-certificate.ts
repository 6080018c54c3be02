/** The certificate that a client showed, as whoever terminated TLS tells of it. */
export interface PresentedCertificate {
  /** `SUCCESS` or `FAILED:` and a reason. By the authorities of any host that the client may use. */
  readonly verified: string;
  readonly isRevoked: boolean;
  /** RFC 2253. */
  readonly subject: string;
  /** RFC 2253. */
  readonly issuer: string;
  /** Base64 of its DER; null when it was too large to be told. */
  readonly der: string | null;
  /** The certificates that the client sent with it, as {@link intermediatesOf} reads them. */
  readonly chain: string;
}

/** A list of RFC 9440 section 2.2 with one member, a byte sequence of RFC 8941 section 3.3.5. */
const BYTE_SEQUENCE = /^:([A-Za-z0-9+/]+={0,2}):$/;

/**
 * The certificate in `request.cf.tlsClientAuth`
 * (https://developers.cloudflare.com/ssl/client-certificates/client-certificate-variables/), which
 * no client can write. Null without one, as on every connection without TLS. Header fields are not
 * looked at: whoever asks can write those.
 */
export function presentedCertificate(cf: object | undefined): PresentedCertificate | null {
  const facts = cf && 'tlsClientAuth' in cf ? cf.tlsClientAuth : null;
  if (typeof facts !== 'object' || facts === null) return null;
  const fields = new Map<string, unknown>(Object.entries(facts));
  if (fields.get('certPresented') !== '1') return null;
  const text = (name: string): string => {
    const value = fields.get(name);
    return typeof value === 'string' ? value : '';
  };
  return {
    verified: text('certVerified'),
    isRevoked: text('certRevoked') === '1',
    subject: text('certSubjectDNRFC2253'),
    issuer: text('certIssuerDNRFC2253'),
    der: BYTE_SEQUENCE.exec(text('certRFC9440'))?.[1] ?? null,
    chain: text('certChainRFC9440'),
  };
}

/** Base64 of the DER of each certificate in a `Client-Cert-Chain`; what is none is left out. */
export function intermediatesOf(chain: string): readonly string[] {
  return chain.split(',').flatMap((member) => BYTE_SEQUENCE.exec(member.trim())?.[1] ?? []);
}

/**
 * PEM with each byte escaped that is not unreserved (RFC 3986 section 2.3), as nginx has it in
 * `$ssl_client_escaped_cert`.
 */
export function escapedPem(der: string): string {
  const lines = der.match(/.{1,64}/g) ?? [];
  const pem = ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''];
  return encodeURIComponent(pem.join('\n'));
}
