import 'reflect-metadata';
import { createSecureContext } from 'node:tls';
import { PemConverter, SubjectAlternativeNameExtension, X509Certificate } from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { certificateOf } from '../../syncer/compile/certificate.ts';
import type { Secret } from '../../syncer/kubernetes/objects.ts';
import { SecretText } from '../../syncer/secret-text.ts';
import { type Authority, type Issued, newAuthority } from '../support/certificates.ts';

// What a Secret may hold, against a second reading of it by @peculiar/x509.

const RUNS = Number(process.env.CAUSEWAY_FUZZ ?? '1') * 300;

let authority: Authority;
let issued: readonly Issued[];
beforeAll(async () => {
  authority = await (await newAuthority()).intermediate('Between');
  const names = ['a.example', '*.b.example'];
  issued = await Promise.all([
    authority.issue({ names }),
    authority.issue({ names, keyType: 'rsa' }),
    authority.issue({ names, keyType: 'rsa1024' }),
  ]);
});

function secretOf({ certificate, privateKey }: Pick<Issued, 'certificate' | 'privateKey'>): Secret {
  return {
    kind: 'Secret',
    namespace: 'shop',
    name: 'tls',
    createdAtMs: 0,
    uid: '',
    type: 'kubernetes.io/tls',
    certificate,
    privateKey: new SecretText(privateKey),
    authorities: '',
    hasRevocationList: false,
  };
}

function namesByLibrary(pem: string): readonly string[] {
  const names = new X509Certificate(pem).getExtension(SubjectAlternativeNameExtension)?.names;
  return (names?.items ?? []).flatMap((it) => (it.type === 'dns' ? [it.value.toLowerCase()] : []));
}

/** The first certificate of a PEM file, as the library finds it. */
function leafByLibrary(pem: string): string {
  const [first = new ArrayBuffer(0)] = PemConverter.decode(pem);
  return PemConverter.encode(first, 'CERTIFICATE');
}

/** Some bytes of a text are others, or gone, or there twice. */
const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 0, max: 40 }),
  by: fc.oneof(
    fc.string({ unit: 'binary-ascii', maxLength: 6 }),
    fc.base64String({ maxLength: 12 }),
  ),
});

function mutate(text: string, { at, length, by }: { at: number; length: number; by: string }) {
  const start = Math.floor(at * text.length);
  return text.slice(0, start) + by + text.slice(start + length);
}

test('a damaged Secret is either refused with a reason or can be served as it is', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 2 }),
      fc.array(mutation, { maxLength: 2 }),
      fc.array(mutation, { maxLength: 1 }),
      (index, inCertificate, inKey) => {
        const { certificate = '', privateKey = '' } = issued[index] ?? {};
        const secret = secretOf({
          certificate: inCertificate.reduce(mutate, certificate),
          privateKey: inKey.reduce(mutate, privateKey),
        });
        const read = certificateOf(secret);
        if (typeof read === 'string') {
          expect(read).toMatch(/^[\x20-\x7e]{5,120}$/);
          return;
        }
        createSecureContext({ cert: read.chain, key: read.privateKey.reveal() });
        expect(read.names).toEqual(namesByLibrary(leafByLibrary(read.chain)));
      },
    ),
    { numRuns: RUNS },
  );
});

test('names are those of the subject alternative name, whatever is in them', async () => {
  const plain = fc.domain();
  const odd = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 });
  const hostile = fc.constantFrom(
    'a.example, DNS:bank.example',
    'DNS:bank.example',
    '"',
    'a","b',
    'a\\',
    'x", DNS:bank.example, "',
    ' ',
  );
  const names = fc.array(fc.oneof(plain, plain, odd, hostile), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(names, async (list) => {
      const one = await authority.issue({ names: list, commonName: 'x' });
      const read = certificateOf(secretOf(one));
      const byLibrary = namesByLibrary(one.leaf);
      // A name that needs quoting is none that a host could have; it must not become another.
      const usable = byLibrary.filter((it) => /^[a-z0-9*._-]+$/.test(it));
      if (typeof read === 'string') expect(usable).toEqual([]);
      else expect(read.names.filter((it) => /^[a-z0-9*._-]+$/.test(it))).toEqual(usable);
    }),
    { numRuns: RUNS },
  );
});

test.each(['ecdsa', 'rsa'] as const)(
  'no damaged byte of a certificate for %s does more harm than that one',
  async (keyType) => {
    const { leaf, privateKey } = await authority.issue({ names: ['a.example'], keyType });
    const der = new Uint8Array(PemConverter.decodeFirst(leaf));
    const outcomes = new Set<string>();
    for (const [at, byte] of der.entries()) {
      for (const flip of [0x01, 0x80, 0xff]) {
        const damaged = der.with(at, byte ^ flip);
        const certificate = PemConverter.encode(damaged.buffer, 'CERTIFICATE');
        const read = certificateOf(secretOf({ certificate, privateKey }));
        outcomes.add(typeof read === 'string' ? read : 'served');
      }
    }
    // A signature that is wrong is for those to find who know the authority.
    expect(outcomes).toContain('served');
    expect(outcomes).toContain('tls.crt is not a PEM certificate');
    expect(outcomes).toContain('tls.key does not belong to tls.crt');
  },
);
