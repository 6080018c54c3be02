import 'reflect-metadata';
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { SecretText } from '../../syncer/secret-text.ts';

/** What a server shows, and the key with which it proves that it may. */
export interface ServerCertificate {
  /** PEM, the certificate itself first. */
  readonly chain: string;
  readonly privateKey: SecretText;
}

const DAY_MS = 24 * 60 * 60_000;
/** Below the 825 days that Apple's systems take of a certificate that a user trusts by hand. */
const LIFETIME_MS = 800 * DAY_MS;
/** A run may last as long as this without showing one that has expired. */
const LEFT_MS_MIN = 400 * DAY_MS;
const NAME = 'Causeway default certificate';
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * The certificate for names that no Secret covers; nobody trusts it. Kept with the state, so that a
 * browser that was told to go on does not ask anew in each run, and made anew long before it expires
 * or when the file cannot be read.
 */
export async function defaultCertificate(
  persist: string | null,
  nowMs: number,
): Promise<ServerCertificate> {
  if (persist === null) return make(nowMs);
  const file = join(persist, 'default-certificate');
  const kept = read(file, nowMs);
  if (kept) return kept;
  const made = await make(nowMs);
  mkdirSync(persist, { recursive: true });
  // Whole or not at all: a run that is ended meanwhile leaves no half of one.
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, made.chain + made.privateKey.reveal(), { mode: 0o600 });
  renameSync(draft, file);
  return made;
}

function read(file: string, nowMs: number): ServerCertificate | null {
  try {
    const text = readFileSync(file, 'utf8');
    const split = text.indexOf('-----BEGIN PRIVATE KEY-----');
    const [chain, key] = [text.slice(0, split), text.slice(split)];
    const certificate = new X509Certificate(chain);
    const isGood = certificate.checkPrivateKey(createPrivateKey(key));
    const leftMs = certificate.validToDate.getTime() - nowMs;
    return isGood && leftMs >= LEFT_MS_MIN ? { chain, privateKey: new SecretText(key) } : null;
  } catch {
    return null;
  }
}

async function make(nowMs: number): Promise<ServerCertificate> {
  const { subtle } = webcrypto;
  const keys = await subtle.generateKey(ECDSA, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${NAME}`,
      // For a clock that is a little behind ours.
      notBefore: new Date(nowMs - DAY_MS),
      notAfter: new Date(nowMs + LIFETIME_MS),
      keys,
      signingAlgorithm: ECDSA,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension([
          { type: 'dns', value: 'localhost' },
          { type: 'ip', value: '127.0.0.1' },
          { type: 'ip', value: '::1' },
        ]),
      ],
    },
    webcrypto as Parameters<typeof X509CertificateGenerator.createSelfSigned>[1],
  );
  const key = await subtle.exportKey('pkcs8', keys.privateKey);
  return {
    chain: `${certificate.toString('pem')}\n`,
    privateKey: new SecretText(`${PemConverter.encode(key, 'PRIVATE KEY')}\n`),
  };
}
