import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ServerNames } from '../../local/tls/server-names.ts';
import type { Hostname } from '../../snapshot/types.ts';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { servedCertificate, tlsState } from './support/served-certificate.ts';

// Which certificates a server name may be shown with.

let made: (namespace: string, ...names: readonly string[]) => Certificate;

beforeAll(async () => {
  const authority: Authority = await newAuthority();
  const base = servedCertificate(await authority.issue({ names: ['made.example'] }));
  made = (namespace, ...names) => ({
    ...base,
    secret: { kind: 'Secret', namespace, name: names.join('+') },
    names,
  });
});

const first = (names: ServerNames, name: string) => names.find(name).choices[0] ?? [];

describe('a server name', () => {
  it('is shown with its own certificates, then the wildcard, then the catch-all', () => {
    const own = made('shop', 'a.example.com');
    const wildcard = made('shop', '*.example.com');
    const rest = made('shop', 'a.example.com', 'x.y.example.com');
    const names = new ServerNames(
      tlsState({ 'a.example.com': [own], '*.example.com': [wildcard], '*': [rest] }),
    );
    expect(names.find('a.example.com').choices).toEqual([[own], [wildcard], [rest]]);
    expect(names.find('b.example.com').choices).toEqual([[wildcard]]);
    expect(names.find('x.y.example.com').choices).toEqual([[rest]]);
    expect(names.find('example.com').choices).toEqual([]);
    expect(names.find('').choices).toEqual([]);
  });

  it('is read as a host is: in any case, with a trailing dot', () => {
    const own = made('shop', 'a.example.com');
    const names = new ServerNames(tlsState({ 'a.example.com': [own] }));
    expect(first(names, 'A.Example.COM.')).toEqual([own]);
  });

  it('of the catch-all entry gets those alone that cover it', () => {
    const [one, other] = [made('shop', 'one.example'), made('shop', 'other.example')];
    const names = new ServerNames(tlsState({ '*': [one, other] }, { '*': 'shop' }));
    expect(first(names, 'one.example')).toEqual([one]);
    expect(first(names, 'third.example')).toEqual([]);
  });

  it.each([
    ['own', 'shop', true],
    ["another tenant's", 'bank', false],
  ])('that is a host without certificate falls through to its %s wildcard', (_, owner, isShown) => {
    const wildcard = made('shop', '*.example.com');
    const names = new ServerNames(
      tlsState(
        { '*.example.com': [wildcard] },
        { 'a.example.com': owner, '*.example.com': 'shop' },
      ),
    );
    expect(first(names, 'a.example.com')).toEqual(isShown ? [wildcard] : []);
    expect(first(names, 'b.example.com')).toEqual([wildcard]);
  });

  it("of one tenant's wildcard is not shown with what another has for the rest", () => {
    const rest = made('bank', 'a.example.com');
    const owners = { '*.example.com': 'shop', '*': 'bank' };
    expect(first(new ServerNames(tlsState({ '*': [rest] }, owners)), 'a.example.com')).toEqual([]);
  });
});

describe('any server name', () => {
  const NAMES = ['a.x.test', 'b.x.test', 'x.test', '*.x.test', '*.b.x.test', 'c.b.x.test'];
  const hostname = fc.constantFrom(...NAMES, '*');
  const namespace = fc.constantFrom('shop', 'bank', 'post');

  /** As the syncer hands it over: the entries of a host are of the namespace that owns it. */
  const states = fc.record({
    owners: fc.dictionary(hostname, namespace),
    entries: fc.dictionary(
      hostname,
      fc.record({ namespace, names: fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1 }) }),
    ),
    asked: fc.constantFrom('a.x.test', 'b.x.test', 'x.test', 'c.b.x.test', 'z.x.test', 'z.test'),
  });

  /** RFC 9525 section 6.3: a wildcard is for the whole first label and for that alone. */
  const covers = (pattern: string, name: string) => {
    const [labels, wanted] = [pattern.split('.'), name.split('.')];
    const isSame = (label: string, i: number) => label === wanted[i] || (i === 0 && label === '*');
    return labels.length === wanted.length && labels.every(isSame);
  };

  const serves = (host: Hostname, name: string) =>
    host === '*' ? 0 : host === name ? 2 : host.startsWith('*.') && covers(host, name) ? 1 : -1;

  it('is never shown with a certificate of another tenant, nor with one that is not for it', () => {
    fc.assert(
      fc.property(states, ({ owners, entries, asked }) => {
        const certificates: Record<Hostname, Certificate[]> = {};
        for (const [host, { namespace: asking, names }] of Object.entries(entries)) {
          certificates[host] = [made(owners[host] ?? asking, ...names)];
        }
        const { choices } = new ServerNames(tlsState(certificates, owners)).find(asked);
        const routed = Object.keys(owners)
          .filter((host) => serves(host, asked) >= 0)
          .sort((a, b) => serves(b, asked) - serves(a, asked))[0];
        // Expected: entry by entry, the more special first; one that is less special than the host
        // that gets the requests only for that host's owner.
        const expected = [2, 1, 0].flatMap((rank) =>
          Object.entries(certificates).filter(
            ([host, [certificate]]) =>
              serves(host, asked) === rank &&
              certificate?.names.some((it) => covers(it, asked)) &&
              (routed === undefined ||
                serves(routed, asked) <= rank ||
                certificate.secret.namespace === owners[routed]),
          ),
        );
        expect(choices).toEqual(expected.map(([, own]) => own));
      }),
      { numRuns: 2000 },
    );
  });
});
