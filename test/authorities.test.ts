import './support/certificates.ts';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { Authorities, readCertificate } from '../worker/tls/authorities.ts';

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const YEAR_MS = 365 * 24 * 60 * 60_000;
/** Certificates have whole seconds. */
const NOW_MS = Math.floor(Date.now() / 1000) * 1000;

interface Made {
  readonly name: string;
  readonly pem: string;
  readonly der: string;
}

/** Who signs whom, by name of the key; the second is the issuer's. */
interface Recipe {
  readonly subject: string;
  readonly issuer: string;
  readonly isAuthority: boolean;
  readonly years: readonly [from: number, to: number];
  /** Has the key of this one; without, one that has its name. */
  readonly key?: string;
  /** Says that it is the issuer's, and is signed by this one. */
  readonly signedBy?: string;
  readonly mayNotSign?: true;
}

const ALWAYS = [-2, 2] as const;

/**
 * Two roots, of which one has signed the other; intermediates that both have signed, in a row, after
 * their time, that may not sign or are none, or have another's key; and an impostor of a root.
 */
const RECIPES: Readonly<Record<string, Recipe>> = {
  root: { subject: 'root', issuer: 'root', isAuthority: true, years: ALWAYS },
  other: { subject: 'other', issuer: 'other', isAuthority: true, years: ALWAYS },
  otherByRoot: { subject: 'other', issuer: 'root', isAuthority: true, years: [-2, 1] },
  one: { subject: 'one', issuer: 'root', isAuthority: true, years: ALWAYS },
  oneByOther: { subject: 'one', issuer: 'other', isAuthority: true, years: ALWAYS },
  two: { subject: 'two', issuer: 'one', isAuthority: true, years: [-1, 1] },
  twoByOther: { subject: 'two', issuer: 'other', isAuthority: true, years: [-2, -1] },
  twoByTwo: { subject: 'two', issuer: 'two', isAuthority: true, years: ALWAYS },
  noAuthority: { subject: 'none', issuer: 'root', isAuthority: false, years: ALWAYS },
  maySignNothing: {
    subject: 'idle',
    issuer: 'root',
    isAuthority: true,
    years: ALWAYS,
    mayNotSign: true,
  },
  alias: { subject: 'alias', key: 'two', issuer: 'root', isAuthority: true, years: ALWAYS },
  impostor: {
    subject: 'one',
    issuer: 'root',
    isAuthority: true,
    years: ALWAYS,
    signedBy: 'thief',
  },
  leafOfTwo: { subject: 'leaf', issuer: 'two', isAuthority: false, years: ALWAYS },
  leafOfRoot: { subject: 'leaf', issuer: 'root', isAuthority: false, years: ALWAYS },
  leafOfNone: { subject: 'leaf', issuer: 'none', isAuthority: false, years: ALWAYS },
  leafOfIdle: { subject: 'leaf', issuer: 'idle', isAuthority: false, years: ALWAYS },
  leafOfThief: {
    subject: 'leaf',
    issuer: 'root',
    isAuthority: false,
    years: ALWAYS,
    signedBy: 'thief',
  },
  lateLeaf: { subject: 'leaf', issuer: 'two', isAuthority: false, years: [-2, -1] },
};

const made = new Map<string, Made>();

beforeAll(async () => {
  const keys = new Map<string, webcrypto.CryptoKeyPair>();
  const keysOf = async (name: string) => {
    const known = keys.get(name);
    if (known) return known;
    const pair = await webcrypto.subtle.generateKey(ECDSA, true, ['sign', 'verify']);
    keys.set(name, pair as webcrypto.CryptoKeyPair);
    return pair as webcrypto.CryptoKeyPair;
  };
  for (const [name, recipe] of Object.entries(RECIPES)) {
    const { subject, key = subject, issuer, isAuthority, years } = recipe;
    const { signedBy = issuer, mayNotSign } = recipe;
    const usage = mayNotSign ? KeyUsageFlags.digitalSignature : KeyUsageFlags.keyCertSign;
    const certificate = await X509CertificateGenerator.create({
      subject: `CN=${subject}`,
      issuer: `CN=${issuer}`,
      notBefore: new Date(NOW_MS + years[0] * YEAR_MS),
      notAfter: new Date(NOW_MS + years[1] * YEAR_MS),
      publicKey: (await keysOf(key)).publicKey,
      signingKey: (await keysOf(signedBy)).privateKey,
      signingAlgorithm: ECDSA,
      extensions: [
        new BasicConstraintsExtension(isAuthority),
        ...(isAuthority ? [new KeyUsagesExtension(usage)] : []),
      ],
    });
    made.set(name, {
      name,
      pem: certificate.toString('pem'),
      der: Buffer.from(certificate.rawData).toString('base64'),
    });
  }
});

function get(name: string): Made {
  const found = made.get(name);
  if (!found) throw new Error(`no certificate ${name}`);
  return found;
}

function read(name: string) {
  const found = readCertificate(get(name).der);
  if (!found) throw new Error(`${name} cannot be read`);
  return found;
}

interface Situation {
  readonly leaf: string;
  readonly sent: readonly string[];
  readonly trusted: readonly string[];
  readonly depthMax: number;
}

function isTrusted({ leaf, sent, trusted, depthMax }: Situation, atMs = NOW_MS): boolean {
  const authorities = new Authorities(trusted.map((name) => get(name).pem));
  return authorities.trusted(read(leaf), sent.map(read), depthMax, atMs) !== null;
}

/** By the recipes alone: all ways from the leaf, one after the other. */
function leadsThere({ leaf, sent, trusted, depthMax }: Situation, atMs = NOW_MS): boolean {
  const isValid = (name: string) => {
    const [from, to] = RECIPES[name]?.years ?? [0, 0];
    return NOW_MS + from * YEAR_MS <= atMs && atMs <= NOW_MS + to * YEAR_MS;
  };
  const hasSigned = (issuer: string, subject: string) => {
    const above = RECIPES[issuer];
    const below = RECIPES[subject];
    if (!above || !below || !above.isAuthority || above.mayNotSign) return false;
    const key = above.key ?? above.subject;
    return above.subject === below.issuer && key === (below.signedBy ?? below.issuer);
  };
  const search = (name: string, depth: number): boolean => {
    if (trusted.some((it) => isValid(it) && hasSigned(it, name))) return true;
    if (depth === depthMax) return false;
    return sent.some((it) => isValid(it) && hasSigned(it, name) && search(it, depth + 1));
  };
  return isValid(leaf) && (trusted.includes(leaf) || search(leaf, 0));
}

const names = Object.keys(RECIPES);
const situations: fc.Arbitrary<Situation> = fc.record({
  leaf: fc.constantFrom(...names.filter((it) => /leaf/i.test(it))),
  sent: fc.shuffledSubarray(names, { maxLength: 10 }),
  trusted: fc.shuffledSubarray(
    names.filter((it) => !/leaf/i.test(it)),
    { maxLength: 4 },
  ),
  depthMax: fc.integer({ min: 0, max: 4 }),
});

describe('a chain to an authority', () => {
  test.each([
    [true, { leaf: 'leafOfRoot', sent: [], trusted: ['root'], depthMax: 0 }],
    [true, { leaf: 'leafOfTwo', sent: ['one', 'two'], trusted: ['root'], depthMax: 2 }],
    [false, { leaf: 'leafOfTwo', sent: ['one', 'two'], trusted: ['root'], depthMax: 1 }],
    [true, { leaf: 'leafOfTwo', sent: ['two'], trusted: ['one'], depthMax: 1 }],
    [true, { leaf: 'leafOfTwo', sent: ['two', 'oneByOther'], trusted: ['other'], depthMax: 2 }],
    [true, { leaf: 'leafOfRoot', sent: [], trusted: ['leafOfRoot'], depthMax: 0 }],
    [false, { leaf: 'leafOfTwo', sent: ['twoByOther'], trusted: ['other'], depthMax: 2 }],
    [false, { leaf: 'leafOfNone', sent: ['noAuthority'], trusted: ['root'], depthMax: 9 }],
    [false, { leaf: 'leafOfNone', sent: [], trusted: ['noAuthority'], depthMax: 9 }],
    [false, { leaf: 'leafOfIdle', sent: ['maySignNothing'], trusted: ['root'], depthMax: 9 }],
    [false, { leaf: 'leafOfThief', sent: [], trusted: ['root'], depthMax: 9 }],
    [false, { leaf: 'leafOfTwo', sent: ['two', 'impostor'], trusted: ['root'], depthMax: 9 }],
    [false, { leaf: 'leafOfTwo', sent: ['alias'], trusted: ['root'], depthMax: 9 }],
    [false, { leaf: 'lateLeaf', sent: [], trusted: ['two'], depthMax: 9 }],
    [false, { leaf: 'leafOfRoot', sent: ['root'], trusted: [], depthMax: 9 }],
  ] satisfies [boolean, Situation][])('is %s of %j', (wanted, situation) => {
    expect(isTrusted(situation)).toBe(wanted);
    expect(leadsThere(situation)).toBe(wanted);
  });

  test('is found if and only if there is one, whatever is sent and in whatever order', () => {
    const counts = { yes: 0, no: 0 };
    fc.assert(
      fc.property(situations, (situation) => {
        const wanted = leadsThere(situation);
        counts[wanted ? 'yes' : 'no'] += 1;
        expect(isTrusted(situation)).toBe(wanted);
      }),
      { numRuns: 1_500 },
    );
    // Both answers were asked for often enough.
    expect(Math.min(counts.yes, counts.no)).toBeGreaterThan(100);
  });

  test('is good for as long as it says, and before and after by another way or not at all', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const authorities = new Authorities(situation.trusted.map((name) => get(name).pem));
        const { leaf, sent, depthMax } = situation;
        const found = authorities.trusted(read(leaf), sent.map(read), depthMax, NOW_MS);
        if (!found) return;
        const { validFromMs, validToMs } = found;
        expect(validFromMs).toBeLessThanOrEqual(NOW_MS);
        expect(validToMs).toBeGreaterThanOrEqual(NOW_MS);
        for (const atMs of [validFromMs, validToMs]) expect(leadsThere(situation, atMs)).toBe(true);
        for (const atMs of [validFromMs - 1, validToMs + 1]) {
          expect(isTrusted(situation, atMs)).toBe(leadsThere(situation, atMs));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('is looked for among ten, and a hundred that are sent cost no more', () => {
    const many = Array.from({ length: 100 }, () => 'twoByTwo');
    const situation = { leaf: 'leafOfTwo', trusted: ['root'], depthMax: 200 };
    expect(isTrusted({ ...situation, sent: ['two', 'one', ...many] })).toBe(true);
    expect(isTrusted({ ...situation, sent: [...many, 'two', 'one'] })).toBe(false);
  });
});

describe('what is no certificate', () => {
  test('is none, and does not throw', () => {
    const { der, pem } = get('root');
    const flipped = fc.tuple(
      fc.nat(Buffer.from(der, 'base64').length - 1),
      fc.integer({ min: 1, max: 255 }),
    );
    fc.assert(
      fc.property(flipped, ([at, mask]) => {
        const bytes = Buffer.from(der, 'base64');
        bytes[at] = (bytes[at] ?? 0) ^ mask;
        const found = readCertificate(bytes.toString('base64'));
        if (!found) return;
        // What can still be read was not signed by anybody, but for what no signature covers.
        const root = new Authorities([pem]);
        const trusted = root.trusted(found, [], 0, NOW_MS);
        if (trusted) expect(found.certificate.subject).toBe('CN=root');
      }),
    );
    for (const text of ['', 'AAAA', ':', 'é', '-----BEGIN CERTIFICATE-----', pem.slice(0, 200)]) {
      expect(readCertificate(text)).toBeNull();
    }
  });

  test('is trusted with nothing among authorities, and does not harm the others', () => {
    const junk = ['', 'junk', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'];
    const authorities = new Authorities([...junk, get('root').pem]);
    expect(authorities.trusted(read('leafOfRoot'), [], 0, NOW_MS)).not.toBeNull();
    expect(authorities.id).toBe(new Authorities([get('root').pem]).id);
    expect(new Authorities(junk).trusted(read('leafOfRoot'), [], 0, NOW_MS)).toBeNull();
  });
});

test('sets of authorities are told apart, and not by their order', () => {
  const [root, other] = [get('root').pem, get('other').pem];
  expect(new Authorities([root, other]).id).toBe(new Authorities([other, root]).id);
  const ids = [[], [root], [other], [root, other]].map((pems) => new Authorities(pems).id);
  expect(new Set(ids).size).toBe(ids.length);
});
