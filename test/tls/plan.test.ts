import { beforeAll, describe, expect, test } from 'vitest';
import { CATCH_ALL_HOST } from '../../snapshot/types.ts';
import type { TimedCompilation } from '../../syncer/compile/validity.ts';
import { type Authority, type Issued, newAuthority, tlsSecret } from '../support/certificates.ts';
import { compiledAt, tlsIngress } from '../support/tls-ingress.ts';

// Which certificate serves which host at which moment, and what is said about the others.

const NOW_MS = Date.parse('2026-11-22T12:00:00Z');
const DAY_MS = 24 * 60 * 60_000;
const inDays = (days: number) => new Date(NOW_MS + days * DAY_MS);

let authority: Authority;
beforeAll(async () => {
  authority = await newAuthority();
});

const issue = (names: readonly string[], more: Partial<Parameters<Authority['issue']>[0]> = {}) =>
  authority.issue({ names, notBefore: inDays(-1), notAfter: inDays(90), ...more });

const ingress = tlsIngress;
const compiled = (objects: readonly object[], nowMs = NOW_MS) => compiledAt(nowMs, objects);

/** `a.example: shop/tls` for each certificate that is served. */
function served({ certificates }: TimedCompilation): readonly string[] {
  return [...certificates].flatMap(([host, all]) =>
    all.map(({ secret, keyType }) => `${host}: ${keyType} ${secret.namespace}/${secret.name}`),
  );
}

const TLS_REASONS = /^(Secret|Certificate|HostSetting)/;

function said({ problems }: TimedCompilation): readonly string[] {
  return problems
    .filter(({ reason }) => TLS_REASONS.test(reason))
    .map(({ object, reason, message }) => `${reason} ${object.kind} ${object.name}: ${message}`);
}

describe('a host is served with', () => {
  test('the certificate of the Secret that names it', async () => {
    const secret = tlsSecret('shop', 'tls', await issue(['a.example']));
    const asking = ingress({ tls: [{ hosts: ['A.example'], secretName: 'tls' }] });
    const compilation = compiled([asking, secret]);
    expect(served(compilation)).toEqual(['a.example: ecdsa shop/tls']);
    expect(said(compilation)).toEqual([]);
  });

  test('one of each type of key, the first that is asked for', async () => {
    const [rsa, ecdsa, other] = await Promise.all([
      issue(['a.example'], { keyType: 'rsa' }),
      issue(['a.example']),
      issue(['a.example']),
    ]);
    const secrets = [
      tlsSecret('shop', 'r', rsa),
      tlsSecret('shop', 'e', ecdsa),
      tlsSecret('shop', 'o', other),
    ];
    const tls = ['e', 'r', 'o'].map((secretName) => ({ hosts: ['a.example'], secretName }));
    const compilation = compiled([ingress({ tls }), ...secrets]);
    expect(served(compilation)).toEqual(['a.example: ecdsa shop/e', 'a.example: rsa shop/r']);
  });

  test('a wildcard certificate one label deep and no deeper', async () => {
    const secret = tlsSecret('shop', 'tls', await issue(['*.example']));
    const hosts = ['a.example', 'b.a.example', '*.example'];
    const compilation = compiled([ingress({ hosts, tls: [{ secretName: 'tls' }] }), secret]);
    expect(served(compilation)).toEqual(['*.example: ecdsa shop/tls', 'a.example: ecdsa shop/tls']);
    expect(said(compilation)).toEqual([
      expect.stringMatching(
        /SecretInvalid Ingress web: spec.tls\[0\].* is for \*\.example and does not cover b\.a\.example/,
      ),
    ]);
  });

  test('what names no hosts, on all hosts of the Ingress', async () => {
    const secret = tlsSecret('shop', 'tls', await issue(['a.example', 'b.example']));
    const hosts = ['a.example', 'b.example'];
    const compilation = compiled([ingress({ hosts, tls: [{ secretName: 'tls' }] }), secret]);
    expect(served(compilation)).toEqual(['a.example: ecdsa shop/tls', 'b.example: ecdsa shop/tls']);
  });

  test('what names no hosts, on none where the Ingress names none that could be', async () => {
    const secret = tlsSecret('shop', 'tls', await issue(['a.example']));
    const tls = [{ secretName: 'tls' }];
    expect(served(compiled([ingress({ hosts: ['a_b'], tls }), secret]))).toEqual([]);
    expect(served(compiled([ingress({ hosts: [], tls }), secret]))).toEqual([
      `${CATCH_ALL_HOST}: ecdsa shop/tls`,
    ]);
  });

  test('one of a hundred names', async () => {
    const hosts = Array.from({ length: 100 }, (_, i) => `h${i}.example`);
    const secret = tlsSecret('shop', 'tls', await issue(hosts));
    const compilation = compiled([ingress({ hosts, tls: [{ hosts, secretName: 'tls' }] }), secret]);
    expect(served(compilation)).toHaveLength(100);
    expect(said(compilation)).toEqual([]);
  });

  test('none of the common name alone', async () => {
    const issued = await issue([], { commonName: 'a.example' });
    const asking = ingress({ tls: [{ hosts: ['a.example'], secretName: 'tls' }] });
    const compilation = compiled([asking, tlsSecret('shop', 'tls', issued)]);
    expect(served(compilation)).toEqual([]);
    expect(said(compilation)).toEqual([
      expect.stringMatching(/no DNS name in its subject alternative name/),
    ]);
  });
});

describe('whose certificate', () => {
  test('another namespace cannot bring one to a host that was claimed', async () => {
    const mine = tlsSecret('shop', 'tls', await issue(['a.example']));
    const theirs = tlsSecret('rival', 'tls', await issue(['a.example']));
    const tls = [{ hosts: ['a.example'], secretName: 'tls' }];
    const compilation = compiled([
      ingress({ tls, day: 1 }),
      ingress({ namespace: 'rival', name: 'late', tls, day: 2 }),
      mine,
      theirs,
    ]);
    expect(served(compilation)).toEqual(['a.example: ecdsa shop/tls']);
    expect(said(compilation)).toEqual([
      'HostSettingIgnored Ingress late: spec.tls[0]: host a.example belongs to namespace shop, which claimed it first; only its certificates serve it',
    ]);
  });

  test('not even when the owner has none', async () => {
    const theirs = tlsSecret('rival', 'tls', await issue(['a.example']));
    const tls = [{ hosts: ['a.example'], secretName: 'tls' }];
    const compilation = compiled([
      ingress({ tls: [], day: 1 }),
      ingress({ namespace: 'rival', name: 'late', tls, day: 2 }),
      theirs,
    ]);
    expect(served(compilation)).toEqual([]);
  });

  test('nor to a name that only a wildcard of another namespace serves', async () => {
    const theirs = tlsSecret('rival', 'tls', await issue(['a.example']));
    const compilation = compiled([
      ingress({ hosts: ['*.example'], tls: [], day: 1 }),
      ingress({
        namespace: 'rival',
        name: 'late',
        hosts: ['r.rival.example'],
        tls: [{ hosts: ['a.example'], secretName: 'tls' }],
        day: 2,
      }),
      theirs,
    ]);
    expect(served(compilation)).toEqual([]);
    expect(said(compilation)).toEqual([
      expect.stringMatching(
        /^HostSettingIgnored Ingress late: .*host a\.example belongs to namespace shop/,
      ),
    ]);
  });

  test('a Secret of another namespace is never read', async () => {
    const theirs = tlsSecret('rival', 'tls', await issue(['a.example']));
    const asking = ingress({ tls: [{ hosts: ['a.example'], secretName: 'tls' }] });
    const compilation = compiled([asking, theirs]);
    expect(served(compilation)).toEqual([]);
    expect(said(compilation)).toEqual([
      expect.stringMatching(/^SecretNotFound Ingress web: .*there is no Secret shop\/tls/),
    ]);
  });
});

describe('the clock', () => {
  const tls = ['old', 'new'].map((secretName) => ({ hosts: ['a.example'], secretName }));

  test('an expired certificate gives way to the next', async () => {
    const old = tlsSecret('shop', 'old', await issue(['a.example'], { notAfter: inDays(5) }));
    const next = tlsSecret('shop', 'new', await issue(['a.example']));
    const objects = [ingress({ tls }), old, next];
    expect(served(compiled(objects))).toEqual(['a.example: ecdsa shop/old']);
    const later = compiled(objects, NOW_MS + 6 * DAY_MS);
    expect(served(later)).toEqual(['a.example: ecdsa shop/new']);
    expect(said(later)).toEqual([
      expect.stringMatching(
        /^SecretInvalid Ingress web: spec\.tls\[0\]\.secretName: the certificate of Secret shop\/old expired at 2026-11-27T12:00:00Z/,
      ),
    ]);
    // Law 1: what is published does not depend on the time.
    expect(later.snapshot).toEqual(compiled(objects).snapshot);
  });

  test('one that is not valid yet waits', async () => {
    const old = tlsSecret('shop', 'old', await issue(['a.example'], { notBefore: inDays(1) }));
    const objects = [ingress({ tls: tls.slice(0, 1) }), old];
    expect(served(compiled(objects))).toEqual([]);
    expect(said(compiled(objects))).toEqual([
      expect.stringMatching(/is not valid before 2026-11-23T12:00:00Z/),
    ]);
    expect(served(compiled(objects, NOW_MS + 2 * DAY_MS))).toEqual(['a.example: ecdsa shop/old']);
  });

  test('21 days before the end it is a problem, with the same words every day', async () => {
    const old = tlsSecret('shop', 'old', await issue(['a.example'], { notAfter: inDays(30) }));
    const objects = [ingress({ tls: tls.slice(0, 1) }), old];
    const at = (days: number) => said(compiled(objects, NOW_MS + days * DAY_MS));
    expect(at(8)).toEqual([]);
    expect(at(9)).toEqual([
      expect.stringMatching(/^CertificateExpiring Ingress web: .*expires at 2026-12-22T12:00:00Z/),
    ]);
    expect(at(29)).toEqual(at(9));
  });
});

describe('which check failed', () => {
  const broken = (change: (issued: Issued) => Issued) => async () =>
    change(await issue(['a.example']));
  const mixed = async () => ({
    ...(await issue(['a.example'])),
    privateKey: (await issue(['a.example'])).privateKey,
  });
  test.each<[string, () => Promise<Issued>, RegExp]>([
    ['no certificate', broken((it) => ({ ...it, certificate: '' })), /data has no tls\.crt/],
    ['no key', broken((it) => ({ ...it, privateKey: '' })), /data has no tls\.key/],
    [
      'garbage',
      broken((it) => ({ ...it, certificate: 'garbage' })),
      /tls\.crt is not a PEM certificate/,
    ],
    [
      'garbage in the chain',
      broken((it) => ({
        ...it,
        certificate: `${it.certificate}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
      })),
      /tls\.crt is not a PEM certificate/,
    ],
    [
      'a garbled key',
      broken((it) => ({ ...it, privateKey: it.privateKey.slice(0, 90) })),
      /tls\.key is not a PEM private key/,
    ],
    ['another key', mixed, /tls\.key does not belong to tls\.crt/],
    [
      'a weak key',
      () => issue(['a.example'], { keyType: 'rsa1024' }),
      /the key is weak: RSA of 1024 bits/,
    ],
    [
      'a key of Ed25519',
      () => issue(['a.example'], { keyType: 'ed25519' }),
      /the key is of type ed25519/,
    ],
    ['another name', () => issue(['b.example']), /is for b\.example and does not cover a\.example/],
  ])('%s', async (_, make, message) => {
    const issued = await make();
    const next = tlsSecret('shop', 'next', await issue(['a.example']));
    const tls = ['tls', 'next'].map((secretName) => ({ hosts: ['a.example'], secretName }));
    const compilation = compiled([ingress({ tls }), tlsSecret('shop', 'tls', issued), next]);
    expect(said(compilation)).toEqual([expect.stringMatching(message)]);
    expect(served(compilation)).toEqual(['a.example: ecdsa shop/next']);
    const text = JSON.stringify(compilation);
    expect(text).not.toMatch(/PRIVATE KEY|LS0tLS1CRUdJTiBQUklWQV/);
  });
});
