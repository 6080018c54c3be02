import type { Sha256 } from './types.ts';

/**
 * Ed25519 (RFC 8032) over what a pointer promises: which cluster serves which version. The version
 * is the hash of the manifest and the manifest holds the hash of each shard, so the signature
 * covers every byte of routing. Keys are raw, in base64url (RFC 4648 section 5), as in a JWK.
 */
export interface KeyPairText {
  /** The JWK `d` and `x` joined by a dot: importing a private key takes both. */
  readonly privateKey: string;
  readonly publicKey: string;
}

const ALGORITHM = 'Ed25519';

export type SignatureKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

function message(cluster: string, version: Sha256): Uint8Array<ArrayBuffer> {
  const text = `causeway manifest 1\n${cluster}\n${version}`;
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

export async function generateKeyPair(): Promise<KeyPairText> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new Error(`${ALGORITHM} gave no key pair`);
  const jwk = (await crypto.subtle.exportKey('jwk', pair.privateKey)) as { d?: string; x?: string };
  return { privateKey: `${jwk.d}.${jwk.x}`, publicKey: `${jwk.x}` };
}

/** @throws Error when the text is not a private key of {@link generateKeyPair}. */
export async function importPrivateKey(text: string): Promise<SignatureKey> {
  const [d, x] = text.trim().split('.');
  if (!d || !x) throw new Error('not a private key of "causeway keygen"');
  return crypto.subtle.importKey('jwk', { kty: 'OKP', crv: ALGORITHM, d, x }, ALGORITHM, false, [
    'sign',
  ]);
}

/** @throws Error when the text is not a public key of {@link generateKeyPair}. */
export async function importPublicKey(text: string): Promise<SignatureKey> {
  const jwk = { kty: 'OKP', crv: ALGORITHM, x: text.trim() };
  return crypto.subtle.importKey('jwk', jwk, ALGORITHM, false, ['verify']);
}

/** The signature, in base64url. */
export async function signVersion(
  key: SignatureKey,
  cluster: string,
  version: Sha256,
): Promise<string> {
  const signature = await crypto.subtle.sign(ALGORITHM, key, message(cluster, version));
  let binary = '';
  for (const byte of new Uint8Array(signature)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export async function verifyVersion(
  key: SignatureKey,
  cluster: string,
  version: Sha256,
  signature: string,
): Promise<boolean> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    const binary = atob(signature.replaceAll('-', '+').replaceAll('_', '/'));
    bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  } catch {
    return false;
  }
  return crypto.subtle.verify(ALGORITHM, key, bytes, message(cluster, version));
}
