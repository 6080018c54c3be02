import { createHash, X509Certificate } from 'node:crypto';

/** A certificate that leads to an authority, and the time during which all on the way are valid. */
export interface TrustedCertificate {
  readonly validFromMs: number;
  readonly validToMs: number;
}

/** A certificate that was read. */
export interface ReadCertificate extends TrustedCertificate {
  readonly certificate: X509Certificate;
}

/** Whoever sends more wants us to do sums: each may be checked against each. */
const INTERMEDIATES_MAX = 10;

/** The certificates that a host trusts to say who its clients are. */
export class Authorities {
  /** The same for the same certificates. */
  readonly id: string;
  readonly #certificates: readonly ReadCertificate[];

  /** PEM, one certificate each. One that cannot be read is trusted with nothing. */
  constructor(pems: readonly string[]) {
    this.#certificates = pems.flatMap((pem) => readCertificate(pem) ?? []);
    const fingerprints = this.#certificates.map((it) => it.certificate.fingerprint256);
    this.id = createHash('sha256').update(fingerprints.sort().join()).digest('hex');
  }

  /**
   * Looks for a chain from `leaf` over at most `depthMax` of `sent`, each of them signed by the next,
   * to one of the authorities (RFC 5280 section 6.1, without revocation, policies and name
   * constraints: TLS was terminated by someone who has looked at those). What is not valid at
   * `nowMs` counts for nothing.
   */
  trusted(
    leaf: ReadCertificate,
    sent: readonly ReadCertificate[],
    depthMax: number,
    nowMs: number,
  ): TrustedCertificate | null {
    if (!isValidAt(leaf, nowMs)) return null;
    const { fingerprint256 } = leaf.certificate;
    if (this.#certificates.some((it) => it.certificate.fingerprint256 === fingerprint256))
      return leaf;
    const issuers = this.#certificates.filter((it) => mayIssue(it, nowMs));
    const unused = new Set(sent.slice(0, INTERMEDIATES_MAX).filter((it) => mayIssue(it, nowMs)));
    // Breadth first: each is reached on its shortest way, so one that is too deep is so on all ways.
    let reached: readonly ReadCertificate[] = [leaf];
    for (let depth = 0; reached.length > 0; depth++) {
      for (const subject of reached) {
        const issuer = issuers.find((it) => isIssuedBy(subject, it));
        if (issuer) return bothValid(subject, issuer);
      }
      if (depth === depthMax) return null;
      reached = reached.flatMap((subject) => {
        const next = [...unused].filter((it) => isIssuedBy(subject, it));
        for (const issuer of next) unused.delete(issuer);
        return next.map((issuer) => ({ ...issuer, ...bothValid(subject, issuer) }));
      });
    }
    return null;
  }
}

/** From PEM, or from the base64 of DER. Null for what is no certificate. */
export function readCertificate(text: string): ReadCertificate | null {
  try {
    const certificate = new X509Certificate(text.startsWith('-----') ? text : bytesOf(text));
    return {
      certificate,
      validFromMs: Date.parse(certificate.validFrom),
      validToMs: Date.parse(certificate.validTo),
    };
  } catch {
    return null;
  }
}

/** Those of the subject, in order. */
export function commonNamesOf({ certificate }: ReadCertificate): readonly string[] {
  const found: unknown = certificate.toLegacyObject().subject?.CN;
  const names = Array.isArray(found) ? found : [found];
  return names.filter((it) => typeof it === 'string');
}

/** RFC 5280 section 4.1.2.5: both ends are included. False for a date that could not be read. */
export function isValidAt({ validFromMs, validToMs }: TrustedCertificate, nowMs: number): boolean {
  return validFromMs <= nowMs && nowMs <= validToMs;
}

/** Only an authority issues (RFC 5280 section 4.2.1.9), and no one after its time. */
function mayIssue(issuer: ReadCertificate, nowMs: number): boolean {
  return issuer.certificate.ca && isValidAt(issuer, nowMs);
}

/** By name, by key identifier and key usage where there are any, and by signature. */
function isIssuedBy(subject: ReadCertificate, issuer: ReadCertificate): boolean {
  try {
    const { certificate } = subject;
    return (
      certificate.checkIssued(issuer.certificate) &&
      certificate.verify(issuer.certificate.publicKey)
    );
  } catch {
    // A key of a kind that cannot have made such a signature.
    return false;
  }
}

function bothValid(a: TrustedCertificate, b: TrustedCertificate): TrustedCertificate {
  return {
    validFromMs: Math.max(a.validFromMs, b.validFromMs),
    validToMs: Math.min(a.validToMs, b.validToMs),
  };
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}
