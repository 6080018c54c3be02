import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeyPair, importPrivateKey, type SignatureKey } from '../snapshot/signature.ts';

export interface SigningKeys {
  readonly publicKey: string;
  readonly privateKey: SignatureKey;
}

/**
 * The key pair of the embedded gateway, so that it signs and verifies as production does. Kept with
 * the state: what one run published, the next one serves until it has something newer.
 */
export async function localSigningKeys(persist: string | null): Promise<SigningKeys> {
  const file = persist === null ? null : join(persist, 'signing-key');
  if (file !== null && existsSync(file)) {
    const [publicKey = '', privateKey = ''] = readFileSync(file, 'utf8').trim().split('\n');
    return { publicKey, privateKey: await importPrivateKey(privateKey) };
  }
  const pair = await generateKeyPair();
  if (persist !== null && file !== null) {
    mkdirSync(persist, { recursive: true });
    writeFileSync(file, `${pair.publicKey}\n${pair.privateKey}\n`, { mode: 0o600 });
  }
  return { publicKey: pair.publicKey, privateKey: await importPrivateKey(pair.privateKey) };
}
