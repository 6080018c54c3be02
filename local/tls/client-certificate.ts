import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import {
  AuthorityKeyIdentifierExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as X509Extensions,
} from '@peculiar/x509';
import { peerCertificates } from './peer-certificates.ts';

/**
 * `request.cf.tlsClientAuth` as Cloudflare fills it in
 * (https://developers.cloudflare.com/ssl/client-certificates/client-certificate-variables/). Texts
 * are empty where there is nothing to say.
 */
export interface TlsClientAuth {
  readonly certPresented: '0' | '1';
  /** `NONE`, `SUCCESS`, or `FAILED:` and why. */
  readonly certVerified: string;
  /** Revocation is not looked at here. */
  readonly certRevoked: '0';
  readonly certSubjectDN: string;
  readonly certIssuerDN: string;
  readonly certSubjectDNRFC2253: string;
  readonly certIssuerDNRFC2253: string;
  readonly certSubjectDNLegacy: string;
  readonly certIssuerDNLegacy: string;
  readonly certSerial: string;
  readonly certIssuerSerial: string;
  readonly certFingerprintSHA256: string;
  readonly certFingerprintSHA1: string;
  readonly certNotBefore: string;
  readonly certNotAfter: string;
  readonly certSKI: string;
  readonly certIssuerSKI: string;
  /** RFC 9440 section 2.2. */
  readonly certRFC9440: string;
  readonly certRFC9440TooLarge: boolean;
  /** RFC 9440 section 2.3: what the client sent along, without the certificate itself. */
  readonly certChainRFC9440: string;
  readonly certChainRFC9440TooLarge: boolean;
}

const NOT_PRESENTED: TlsClientAuth = {
  certPresented: '0',
  certVerified: 'NONE',
  certRevoked: '0',
  certSubjectDN: '',
  certIssuerDN: '',
  certSubjectDNRFC2253: '',
  certIssuerDNRFC2253: '',
  certSubjectDNLegacy: '',
  certIssuerDNLegacy: '',
  certSerial: '',
  certIssuerSerial: '',
  certFingerprintSHA256: '',
  certFingerprintSHA1: '',
  certNotBefore: '',
  certNotAfter: '',
  certSKI: '',
  certIssuerSKI: '',
  certRFC9440: '',
  certRFC9440TooLarge: false,
  certChainRFC9440: '',
  certChainRFC9440TooLarge: false,
};

const LEAF_BYTES_MAX = 10 * 1024;
const CHAIN_BYTES_MAX = 16 * 1024;

/**
 * What a client showed in its handshake.
 * @param authorities PEM, those it was held against: they are ours, and not what the client sent
 */
export function tlsClientAuth(socket: TLSSocket, authorities: readonly string[]): TlsClientAuth {
  const [leaf, ...issuers] = peerCertificates(socket);
  if (!leaf) return NOT_PRESENTED;
  const sent = sentAlong(issuers, authorities);
  const chain = sent.map((it) => byteSequence(it.raw)).join(', ');
  const chainBytes = sent.reduce((sum, { raw }) => sum + raw.length, 0);
  const isLeafTooLarge = leaf.raw.length > LEAF_BYTES_MAX;
  const isChainTooLarge = chainBytes > CHAIN_BYTES_MAX;
  const subject = rfc2253(leaf.subject);
  const issuer = rfc2253(leaf.issuer);
  return {
    certPresented: '1',
    certVerified: socket.authorized ? 'SUCCESS' : `FAILED:${reasonOf(socket.authorizationError)}`,
    certRevoked: '0',
    certSubjectDN: subject,
    certIssuerDN: issuer,
    certSubjectDNRFC2253: subject,
    certIssuerDNRFC2253: issuer,
    certSubjectDNLegacy: oneline(leaf.subject),
    certIssuerDNLegacy: oneline(leaf.issuer),
    certSerial: leaf.serialNumber,
    certIssuerSerial: issuers[0]?.serialNumber ?? '',
    certFingerprintSHA256: hexadecimal(leaf.fingerprint256),
    certFingerprintSHA1: hexadecimal(leaf.fingerprint),
    certNotBefore: leaf.validFrom,
    certNotAfter: leaf.validTo,
    ...keyIdentifiers(leaf),
    certRFC9440: isLeafTooLarge ? '' : byteSequence(leaf.raw),
    certRFC9440TooLarge: isLeafTooLarge,
    certChainRFC9440: isChainTooLarge ? '' : chain,
    certChainRFC9440TooLarge: isChainTooLarge,
  };
}

/** Without what comes from our own store, and without a root, which stands for itself. */
function sentAlong(
  issuers: readonly X509Certificate[],
  authorities: readonly string[],
): readonly X509Certificate[] {
  const ours = new Set(authorities.map((it) => new X509Certificate(it).fingerprint256));
  const end = issuers.findIndex((it) => ours.has(it.fingerprint256) || it.checkIssued(it));
  return end < 0 ? issuers : issuers.slice(0, end);
}

/** A byte sequence of RFC 8941 section 3.3.5. */
function byteSequence(bytes: Buffer): string {
  return `:${bytes.toString('base64')}:`;
}

/**
 * Node has one relative name a line, the outermost first, with values escaped as RFC 2253 wants it;
 * what is not ASCII OpenSSL escapes as well.
 */
function rfc2253(name: string | undefined): string {
  const text = (name ?? '').split('\n').reverse().join(',');
  return inAscii(text, (byte) => `\\${byte}`);
}

/** `/C=US/CN=x`, as OpenSSL's X509_NAME_oneline has it. */
function oneline(name: string | undefined): string {
  if (!name) return '';
  const lines = name.split('\n').map((line) => line.replace(/\\([^0-9A-F])/g, '$1'));
  return inAscii(`/${lines.join('/')}`, (byte) => `\\x${byte}`);
}

function inAscii(text: string, escaped: (byte: string) => string): string {
  return text.replace(/[^ -~]+/g, (it) =>
    [...Buffer.from(it)]
      .map((byte) => escaped(byte.toString(16).toUpperCase().padStart(2, '0')))
      .join(''),
  );
}

function hexadecimal(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}

/** The two key identifiers of RFC 5280 sections 4.2.1.1 and 4.2.1.2, which Node does not show. */
function keyIdentifiers({
  raw,
}: X509Certificate): Pick<TlsClientAuth, 'certSKI' | 'certIssuerSKI'> {
  try {
    const certificate = new X509Extensions(raw);
    const own = certificate.getExtension(SubjectKeyIdentifierExtension)?.keyId;
    const issuer = certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId;
    return { certSKI: own?.toUpperCase() ?? '', certIssuerSKI: issuer?.toUpperCase() ?? '' };
  } catch {
    // OpenSSL has read it, and so it is a certificate; an extension may still be out of order.
    return { certSKI: '', certIssuerSKI: '' };
  }
}

/** OpenSSL's words, which production has, for Node's codes. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'certificate has expired',
  CERT_NOT_YET_VALID: 'certificate is not yet valid',
  CERT_SIGNATURE_FAILURE: 'certificate signature failure',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self signed certificate',
  INVALID_PURPOSE: 'unsupported certificate purpose',
  SELF_SIGNED_CERT_IN_CHAIN: 'self signed certificate in certificate chain',
  UNABLE_TO_GET_ISSUER_CERT: 'unable to get issuer certificate',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unable to get local issuer certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unable to verify the first certificate',
};

function reasonOf(code: unknown): string {
  const text = String(code ?? 'not verified');
  return REASONS[text] ?? text.toLowerCase().replaceAll('_', ' ');
}
