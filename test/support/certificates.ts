import 'reflect-metadata';
import { createHash, webcrypto, X509Certificate } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

// Certificates made anew in each run, so that none expires in the repository and no key lies in it.

export type KeyType = 'rsa' | 'ecdsa' | 'rsa1024' | 'ed25519';

export interface CertificateOptions {
  /** DNS names of the subject alternative name. */
  readonly names: readonly string[];
  /** Default: the first of the names. */
  readonly commonName?: string;
  /** Default `ecdsa` (P-256). */
  readonly keyType?: KeyType;
  /** Default: yesterday. */
  readonly notBefore?: Date;
  /** Default: in 90 days. */
  readonly notAfter?: Date;
  /** For a client instead of a server. */
  readonly client?: boolean;
}

export interface Issued {
  /** PEM: the certificate, and the intermediates that lead to the root. */
  readonly certificate: string;
  /** PEM: the certificate alone. */
  readonly leaf: string;
  /** PEM, PKCS #8. */
  readonly privateKey: string;
  /** SHA-256 of the certificate alone, lower-case hexadecimal. */
  readonly fingerprint: string;
}

export interface Authority {
  /** PEM of its own certificate. */
  readonly pem: string;
  intermediate(name: string): Promise<Authority>;
  issue(options: CertificateOptions): Promise<Issued>;
}

type KeyPair = webcrypto.CryptoKeyPair;
type Signer = {
  readonly keys: KeyPair;
  readonly subject: string;
  readonly chain: readonly string[];
};

const DAY_MS = 24 * 60 * 60_000;
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

const ALGORITHMS = {
  rsa: rsaOf(2048),
  rsa1024: rsaOf(1024),
  ecdsa: ECDSA,
  ed25519: { name: 'Ed25519' },
} as const;

function rsaOf(modulusLength: number) {
  const publicExponent = new Uint8Array([1, 0, 1]);
  return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength, publicExponent } as const;
}

/** An authority of its own: clients trust what it issues when they are given its `pem`. */
export async function newAuthority(name = 'Test Authority'): Promise<Authority> {
  const keys = await keyPair('ecdsa');
  const subject = `CN=${name}`;
  const pem = await sign({ keys, subject, chain: [] }, keys, subject, authorityExtensions(), {});
  return authority({ keys, subject, chain: [] }, pem);
}

/** The object as an API server or a file has it. */
export function tlsSecret(namespace: string, name: string, issued: Issued) {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': base64(issued.certificate), 'tls.key': base64(issued.privateKey) },
  };
}

function authority(signer: Signer, pem: string): Authority {
  return {
    pem,
    intermediate: async (name) => {
      const keys = await keyPair('ecdsa');
      const subject = `CN=${name}`;
      const own = await sign(signer, keys, subject, authorityExtensions(), {});
      return authority({ keys, subject, chain: [own, ...signer.chain] }, own);
    },
    issue: (options) => issue(signer, options),
  };
}

async function issue(signer: Signer, options: CertificateOptions): Promise<Issued> {
  const { names, commonName = names[0] ?? '', keyType = 'ecdsa', client = false } = options;
  const keys = await keyPair(keyType);
  const usage = client ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth;
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false),
    new ExtendedKeyUsageExtension([usage]),
  ];
  if (names.length > 0) {
    const sans = names.map((value) => ({ type: 'dns' as const, value }));
    extensions.push(new SubjectAlternativeNameExtension(sans));
  }
  const subject = commonName === '' ? '' : `CN=${commonName}`;
  const leaf = await sign(signer, keys, subject, extensions, options);
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    leaf,
    certificate: [leaf, ...signer.chain].join('\n'),
    privateKey: PemConverter.encode(pkcs8, 'PRIVATE KEY'),
    fingerprint: createHash('sha256').update(new X509Certificate(leaf).raw).digest('hex'),
  };
}

async function sign(
  signer: Signer,
  keys: KeyPair,
  subject: string,
  extensions: Extension[],
  { notBefore, notAfter }: Pick<CertificateOptions, 'notBefore' | 'notAfter'>,
): Promise<string> {
  const certificate = await X509CertificateGenerator.create({
    subject,
    issuer: signer.subject,
    notBefore: notBefore ?? new Date(Date.now() - DAY_MS),
    notAfter: notAfter ?? new Date(Date.now() + 90 * DAY_MS),
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: ECDSA,
    extensions,
  });
  return `${certificate.toString('pem')}\n`;
}

function authorityExtensions(): Extension[] {
  return [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
}

async function keyPair(type: KeyType): Promise<KeyPair> {
  const pair = await webcrypto.subtle.generateKey(ALGORITHMS[type], true, ['sign', 'verify']);
  return pair as KeyPair;
}
