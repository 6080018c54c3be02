import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { wildcardFor } from '../../snapshot/hostname.ts';
import type { ObjectRef } from '../../snapshot/types.ts';
import type { Secret } from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import type { SecretText } from '../secret-text.ts';

/** What of a Secret of type kubernetes.io/tls serves a host: a chain and the key that belongs to it. */
export interface Certificate {
  readonly secret: ObjectRef;
  /** A host may have one of each: older clients speak RSA only. */
  readonly keyType: 'rsa' | 'ecdsa';
  /** PEM: the certificate itself, then those that lead to its authority. */
  readonly chain: string;
  readonly privateKey: SecretText;
  /** SHA-256 of the certificate itself, lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly subject: string;
  /** `DNS:` names of the subject alternative name, lower-case; the common name does not count. */
  readonly names: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Reading a key takes a third of a millisecond, and one Secret may serve a thousand Ingresses. */
const read = new WeakMap<Secret, Certificate | string>();

/** What is wrong, as text, when the Secret has no certificate with a key that could be served. */
export function certificateOf(secret: Secret): Certificate | string {
  const known = read.get(secret);
  if (known !== undefined) return known;
  const certificate = readCertificate(secret);
  read.set(secret, certificate);
  return certificate;
}

/** Whether a certificate for `names` may serve `hostname`, which may be a wildcard itself. */
export function coversHost(names: readonly string[], hostname: string): boolean {
  const wildcard = wildcardFor(hostname);
  return names.includes(hostname) || (wildcard !== null && names.includes(wildcard));
}

function readCertificate(secret: Secret): Certificate | string {
  if (secret.type !== 'kubernetes.io/tls') {
    return `type is ${quoted(secret.type)}; Ingress needs a Secret of type kubernetes.io/tls`;
  }
  if (secret.certificate === '') return 'data has no tls.crt';
  if (secret.privateKey.isEmpty) return 'data has no tls.key';
  const chain = certificatesIn(secret.certificate);
  const [leaf] = chain ?? [];
  if (!chain || !leaf) return 'tls.crt is not a PEM certificate';
  const key = privateKey(secret.privateKey);
  if (!key) return 'tls.key is not a PEM private key';
  if (!leaf.checkPrivateKey(key)) return 'tls.key does not belong to tls.crt';
  const keyType = keyTypeOf(leaf.publicKey);
  if (keyType === null)
    return `the key is of type ${leaf.publicKey.asymmetricKeyType}; browsers take RSA and ECDSA`;
  const weakness = weaknessOf(leaf);
  if (weakness !== null) return weakness;
  const refusal = refusalOf(secret);
  if (refusal !== null) return refusal;
  const names = dnsNames(leaf.subjectAltName);
  if (names.length === 0)
    return 'tls.crt has no DNS name in its subject alternative name, and clients look nowhere else';
  return {
    secret: refOf(secret),
    keyType,
    chain: chain.map((it) => it.toString()).join(''),
    privateKey: secret.privateKey,
    fingerprint: createHash('sha256').update(leaf.raw).digest('hex'),
    subject: leaf.subject,
    names,
    notBeforeMs: leaf.validFromDate.getTime(),
    notAfterMs: leaf.validToDate.getTime(),
  };
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM file in their order; `null` when there is none or one cannot be read. */
export function certificatesIn(pem: string): readonly X509Certificate[] | null {
  try {
    const found = (pem.match(PEM_CERTIFICATE) ?? []).map((it) => new X509Certificate(it));
    return found.length > 0 ? found : null;
  } catch {
    return null;
  }
}

function privateKey(pem: SecretText): KeyObject | null {
  try {
    return createPrivateKey(pem.reveal());
  } catch {
    // The cause could quote the key.
    return null;
  }
}

/** What OpenSSL has against serving it, which those who serve it would have as well. */
function refusalOf({ certificate: cert, privateKey: key }: Secret): string | null {
  try {
    // Without the authorities that Node brings, which take time to read.
    createSecureContext({ cert, key: key.reveal(), ca: [] });
    return null;
  } catch (error) {
    // The code alone: a text could quote what it is about.
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code';
    return `OpenSSL does not take it (${code})`;
  }
}

function keyTypeOf({ asymmetricKeyType }: KeyObject): Certificate['keyType'] | null {
  if (asymmetricKeyType === 'rsa') return 'rsa';
  return asymmetricKeyType === 'ec' ? 'ecdsa' : null;
}

const RSA_BITS_MIN = 2048;
const CURVES: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** What neither browsers nor Cloudflare take any more; `null` when nothing is wrong. */
function weaknessOf({ publicKey, signatureAlgorithm }: X509Certificate): string | null {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined && modulusLength < RSA_BITS_MIN) {
    return `the key is weak: RSA of ${modulusLength} bits, and ${RSA_BITS_MIN} is the least`;
  }
  if (publicKey.asymmetricKeyType === 'ec' && !CURVES.has(namedCurve)) {
    return `the key is weak: its curve ${namedCurve} is none of P-256, P-384 and P-521`;
  }
  if (/md5|sha1\b|sha1With/i.test(signatureAlgorithm ?? '')) {
    return `it is signed with ${signatureAlgorithm}, which nobody trusts any more`;
  }
  return null;
}

/** Node quotes, as JSON does, what could be taken for another name. */
function dnsNames(subjectAltName: string | undefined): readonly string[] {
  const names = (subjectAltName ?? '').match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? [];
  return names.flatMap((name) => {
    const [, dns] = /^\s*DNS:([^"]+)$/.exec(name) ?? [];
    return dns === undefined ? [] : [dns.toLowerCase()];
  });
}
