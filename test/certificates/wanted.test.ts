import { beforeAll, describe, expect, test } from 'vitest';
import type { Problem } from '../../snapshot/types.ts';
import { certificateFollower } from '../../syncer/certificates/certificate-follower.ts';
import { FoundProblems } from '../../syncer/certificates/found-problems.ts';
import { type Finding, problemsOf, wantedHosts } from '../../syncer/certificates/wanted.ts';
import type { Served } from '../../syncer/followers.ts';
import { endlessTerm } from '../../syncer/term.ts';
import { type Authority, newAuthority, tlsSecret } from '../support/certificates.ts';
import { compiledAt, tlsIngress } from '../support/tls-ingress.ts';
import { served } from '../telling/situation.ts';
import { host, ingress } from './support/edge.ts';

/** What of a compilation concerns Cloudflare's TLS, and how what is found comes back. */

let authority: Authority;
beforeAll(async () => {
  authority = await newAuthority();
});

describe('the hosts of a compilation', () => {
  test('each with the Ingresses of its namespace that ask for it, and its certificates', async () => {
    const names = ['a.example.com', 'b.example.com'];
    const issued = await authority.issue({ names });
    const compilation = compiledAt(Date.now(), [
      tlsIngress({ hosts: names, tls: [{ hosts: names, secretName: 'tls' }] }),
      tlsIngress({
        name: 'more',
        hosts: ['a.example.com'],
        tls: [{ hosts: ['a.example.com'] }],
        day: 2,
      }),
      tlsIngress({ namespace: 'blog', hosts: ['a.example.com'], tls: [{}], day: 3 }),
      tlsIngress({ name: 'plain', hosts: ['plain.example.com'], tls: [] }),
      tlsIngress({ name: 'all', hosts: ['*'], tls: [{ secretName: 'tls' }], day: 4 }),
      tlsSecret('shop', 'tls', issued),
    ]);
    const hosts = wantedHosts(compilation);
    expect(hosts.map(({ hostname }) => hostname)).toEqual(names);
    const [a, b] = hosts;
    expect(a?.askedBy).toEqual([ingress('web'), ingress('more')]);
    expect(b?.askedBy).toEqual([ingress('web')]);
    for (const it of hosts) {
      expect(it.isTls).toBe(true);
      expect(it.certificates.map(({ fingerprint }) => fingerprint)).toEqual([issued.fingerprint]);
    }
  });

  test('a certificate with the name of a host of another namespace is withheld', async () => {
    const issued = await authority.issue({ names: ['a.example.com', 'b.example.com'] });
    const hosts = ['b.example.com'];
    const compilation = compiledAt(Date.now(), [
      tlsIngress({ namespace: 'blog', hosts: ['a.example.com'], tls: [], day: 1 }),
      tlsIngress({ hosts, tls: [{ hosts, secretName: 'tls' }], day: 2 }),
      tlsSecret('shop', 'tls', issued),
    ]);
    const [b] = wantedHosts(compilation);
    expect(b).toMatchObject({ hostname: 'b.example.com', certificates: [] });
    expect(b?.withheld).toMatchObject([{ hostname: 'a.example.com', owner: 'blog' }]);
  });

  test('what has run out is not to be uploaded', async () => {
    const past = { notBefore: new Date(Date.now() - 9e8), notAfter: new Date(Date.now() - 1e6) };
    const issued = await authority.issue({ names: ['a.example.com'], ...past });
    const hosts = ['a.example.com'];
    const [only] = wantedHosts(
      compiledAt(Date.now(), [
        tlsIngress({ hosts, tls: [{ hosts, secretName: 'tls' }] }),
        tlsSecret('shop', 'tls', issued),
      ]),
    );
    expect(only?.certificates).toEqual([]);
  });

  test('one that asks for certificates of its clients and for nothing else', () => {
    const plain = tlsIngress({ hosts: ['a.example.com'], tls: [] });
    const { pem } = authority;
    const annotations = { 'nginx.ingress.kubernetes.io/auth-tls-secret': 'shop/clients' };
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: 'shop', name: 'clients' },
      type: 'Opaque',
      data: { 'ca.crt': Buffer.from(pem).toString('base64') },
    };
    const asking = { ...plain, metadata: { ...plain.metadata, annotations } };
    const hosts = wantedHosts(compiledAt(Date.now(), [asking, secret]));
    expect(hosts).toMatchObject([
      { hostname: 'a.example.com', isTls: false, askedBy: [ingress()], certificates: [] },
    ]);
    expect(hosts[0]?.clientCertificates?.authorities).toHaveLength(1);
  });
});

describe('problems', () => {
  const finding = (hostname: string, text = 'no certificate is for it'): Finding => {
    return { hostname, reason: 'CertificateNotCovered', text };
  };

  test('are on each Ingress that asks, once for the hosts of which the same is true', () => {
    const two = { ...host('b.example.com'), askedBy: [ingress('web'), ingress('other')] };
    const problems = problemsOf(
      [finding('b.example.com'), finding('a.example.com'), finding('gone.example.com')],
      [host('a.example.com'), two],
    );
    expect(problems.map(({ object, message }) => `${object.name}: ${message}`)).toEqual([
      'other: b.example.com: no certificate is for it',
      'web: a.example.com, b.example.com: no certificate is for it',
    ]);
  });

  test('of many hosts name some', () => {
    const hosts = Array.from({ length: 100 }, (_, i) => host(`h${i + 100}.example.com`));
    const [problem, ...more] = problemsOf(
      hosts.map(({ hostname }) => finding(hostname)),
      hosts,
    );
    expect(more).toEqual([]);
    expect(problem?.message).toMatch(
      /^h100\.[^ ]+, .*h104.example.com and 95 more: no certificate/,
    );
  });
});

test('what is found wakes the loop once for each change', async () => {
  const found = new FoundProblems();
  const told: (readonly Problem[])[] = [];
  const tokens: number[] = [];
  let findings: readonly Finding[] = [];
  const follow = certificateFollower({
    edgeTlsFor: (_, fencingToken) => {
      tokens.push(fencingToken);
      return { run: async () => findings };
    },
    found,
    onFound: () => told.push(found.list),
  });
  const hosts = ['a.example.com'];
  const compilation = compiledAt(Date.now(), [tlsIngress({ hosts, tls: [{ hosts }] })]);
  const publication: Served = served(compilation);
  await follow(publication);
  expect(told).toEqual([]);
  findings = [{ hostname: 'a.example.com', reason: 'CertificateNotCovered', text: 'is not' }];
  for (let run = 0; run < 3; run++) await follow({ ...publication });
  expect(told).toMatchObject([[{ reason: 'CertificateNotCovered', object: ingress() }]]);
  findings = [];
  for (let run = 0; run < 3; run++) await follow({ ...publication });
  expect(told).toHaveLength(2);
  expect(found.list).toEqual([]);
  // Another term is another leader's work, with a token of its own.
  await follow({ ...publication, term: endlessTerm(), fencingToken: 2 });
  expect(tokens).toEqual([1, 2]);
});
