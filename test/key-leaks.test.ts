import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KeyLeaks } from './support/key-leaks.ts';

// The tests that search for leaked keys prove nothing unless the search finds them.

const PAIRS = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ecdsa: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ed25519: generateKeyPairSync('ed25519'),
};

type Kind = keyof typeof PAIRS;

const pkcs8 = (key: KeyObject) => key.export({ format: 'pem', type: 'pkcs8' }).toString();
const der = (key: KeyObject) => key.export({ format: 'der', type: 'pkcs8' });
const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');

const FORMS: readonly [string, (key: KeyObject) => string | Buffer][] = [
  ['as PEM', pkcs8],
  ['as PEM in JSON', (key) => JSON.stringify({ error: `cannot read ${pkcs8(key)}` })],
  // The first line that has nothing but the algorithm's name and the private number, or such numbers.
  [
    'as one line of its PEM',
    (key) => pkcs8(key).split('\n')[key.asymmetricKeyType === 'rsa' ? 12 : 1] ?? '',
  ],
  ["as a Secret's base64", (key) => base64(pkcs8(key))],
  ['as base64 of a manifest', (key) => base64(`a: b\nkey: |\n${pkcs8(key)}`)],
  ['as DER', der],
  ['as base64 of DER', (key) => base64(der(key))],
  ['as base64 for URLs', (key) => der(key).toString('base64url')],
  ['as hexadecimal', (key) => der(key).toString('hex')],
  ['as HEXADECIMAL', (key) => der(key).toString('hex').toUpperCase()],
  ['as hexadecimal of PEM', (key) => Buffer.from(pkcs8(key)).toString('hex')],
  ['as JWK', (key) => JSON.stringify(key.export({ format: 'jwk' }))],
];

describe.each<Kind>(['rsa', 'ecdsa', 'ed25519'])('a key of kind %s is found', (kind) => {
  const { privateKey, publicKey } = PAIRS[kind];
  const leaks = new KeyLeaks({ planted: pkcs8(privateKey) });

  test.each(FORMS)('%s, wherever it stands', (_, form) => {
    const text = Buffer.from(form(privateKey));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 9 }), (a, b) => {
        expect(leaks.in('a file', Buffer.concat([a, text, b]))).not.toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  test('and its public half is no leak, nor is the key of somebody else', () => {
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const another = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
    for (const content of [spki, base64(spki), spki.toString('hex'), ...encodingsOf(spki)]) {
      expect(leaks.in('a file', content)).toEqual([]);
    }
    for (const [, form] of FORMS) {
      expect(leaks.in('a file', form(other))).toEqual([]);
      expect(leaks.in('a file', form(another))).toEqual([]);
    }
  });
});

/** As it stands in certificates, at any place of their base64. */
function encodingsOf(bytes: Buffer): string[] {
  return Array.from({ length: 48 }, (_, shift) =>
    base64(Buffer.concat([Buffer.alloc(shift), bytes])),
  ).map((text) => text.replace(/.{64}/g, '$&\n'));
}

test('what is no key is found as it stands and as base64', () => {
  const leaks = new KeyLeaks({});
  const text = '-----BEGIN PRIVATE KEY-----\nan abridged key\n';
  leaks.addText('abridged', text);
  expect(leaks.in('a log', `cannot read ${text}`)).not.toEqual([]);
  expect(leaks.in('a Secret', base64(text))).not.toEqual([]);
  expect(leaks.in('a log', 'cannot read the key')).toEqual([]);
});

test.each([
  ['pkcs1', 'rsa'],
  ['sec1', 'ecdsa'],
] as const)('a key is found in the form %s that its kind has', (type, kind) => {
  const { privateKey } = PAIRS[kind];
  const own = createPrivateKey(pkcs8(privateKey)).export({ format: 'pem', type } as never);
  const leaks = new KeyLeaks({ planted: pkcs8(privateKey) });
  expect(leaks.in('a file', own)).not.toEqual([]);
  expect(leaks.in('a Secret', base64(own))).not.toEqual([]);
});
