import { beforeAll, describe, expect, test } from 'vitest';
import { explain } from '../../local/explain.ts';
import type { TimedCompilation } from '../../syncer/compile/validity.ts';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { type Asking, compiledAt, tlsIngress } from '../support/tls-ingress.ts';

// Who guards a host, where several Ingresses name it: no mistake may open a door.

const NGINX = 'nginx.ingress.kubernetes.io';
const AUTH = { 'auth-tls-secret': 'shop/ca' };
const TOKEN = '/.well-known/acme-challenge/token';
const NOW_MS = Date.parse('2026-11-22T12:00:00Z');

let authority: Authority;
beforeAll(async () => {
  authority = await newAuthority('Clients');
});

interface Guarded extends Omit<Asking, 'tls'> {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly path?: string;
}

function ingress({ annotations = {}, path = '/', ...asking }: Guarded) {
  const { metadata, spec, ...object } = tlsIngress({ ...asking, tls: [] });
  const named = Object.entries(annotations).map(([key, value]) => [`${NGINX}/${key}`, value]);
  const rules = spec.rules.map((rule) => {
    const paths = rule.http.paths.map((it) => ({ ...it, path }));
    return { ...rule, http: { paths } };
  });
  const all = { ...metadata, annotations: Object.fromEntries(named) };
  return { ...object, metadata: all, spec: { ...spec, rules } };
}

function compiled(...asking: readonly Guarded[]): TimedCompilation {
  const data = { 'ca.crt': Buffer.from(authority.pem).toString('base64') };
  const metadata = { namespace: 'shop', name: 'ca' };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data };
  const service = (namespace: string) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name: 'web' },
    spec: { type: 'ExternalName', externalName: 'web.origin.example', ports: [{ port: 80 }] },
  });
  const objects = [...asking.map(ingress), secret, service('shop'), service('guest')];
  return compiledAt(NOW_MS, objects);
}

const hostOf = ({ snapshot }: TimedCompilation, name: string) =>
  snapshot.virtualHosts.find(({ hostname }) => hostname === name);

describe('client certificates', () => {
  test.each([
    { 'auth-tls-verify-depth': '2' },
    { 'auth-tls-pass-certificate-to-upstream': 'true' },
    { 'auth-tls-match-cn': 'CN=alice' },
    { 'auth-tls-verify-client': 'off' },
  ])('are not taken away by an older Ingress that names no Secret: %j', (annotations) => {
    const compilation = compiled(
      { name: 'old', annotations, path: '/old' },
      { name: 'new', annotations: AUTH, day: 2 },
    );
    const policy = hostOf(compilation, 'a.example')?.clientCertificates;
    expect(policy).toMatchObject({ verify: 'on', depthMax: 1, authorities: [expect.any(String)] });
    const said = compilation.problems.map(({ object, reason }) => `${object.name} ${reason}`);
    expect(said).toEqual(['old HostSettingIgnored']);
  });
});

describe('a host named for a challenge', () => {
  const wild = { name: 'wild', hosts: ['*.example'], annotations: AUTH };
  const solver = { name: 'solver', hosts: ['a.example'], path: TOKEN, day: 3 };
  const pathsOf = ({ snapshot }: TimedCompilation) =>
    snapshot.virtualHosts
      .find(({ hostname }) => hostname === 'a.example')
      ?.routes.map(({ match }) => match.path);

  test('is served and guarded as before', () => {
    const compilation = compiled(wild, solver);
    expect(pathsOf(compilation)).toEqual([TOKEN, '/']);
    expect(hostOf(compilation, 'a.example')?.clientCertificates).toEqual(
      hostOf(compilation, '*.example')?.clientCertificates,
    );
  });

  test.each([
    ['with no path that can be served', { path: '/a/../b' }],
    ['with a guard of its own', { path: `${TOKEN}2`, annotations: AUTH }],
  ])('and by another Ingress %s gets nothing from elsewhere', (_, more) => {
    const other = { name: 'other', hosts: ['a.example'], day: 2, ...more };
    const before = compiled({ ...wild, annotations: {} }, other);
    const compilation = compiled({ ...wild, annotations: {} }, other, solver);
    expect(pathsOf(before)).not.toContain('/');
    expect(pathsOf(compilation)).not.toContain('/');
    expect(hostOf(compilation, 'a.example')?.clientCertificates).toEqual(
      hostOf(before, 'a.example')?.clientCertificates,
    );
  });

  test('is explained', () => {
    const compilation = compiled(wild, solver);
    const { summary, winner, losers } = explain('https://a.example/app', compilation);
    expect(summary).toBe(
      'served by shop/web/80, asked for by Ingress shop/wild, at web.origin.example:80',
    );
    expect(winner?.rule).toBe('Prefix / of *.example');
    expect(losers.map(({ because }) => because)).toEqual([
      `path /app does not match Prefix ${TOKEN}`,
    ]);
    const challenge = explain(`http://a.example${TOKEN}`, compilation);
    expect(challenge.winner?.rule).toBe(`Prefix ${TOKEN} of a.example`);
    expect(challenge.losers.map(({ because }) => because)).toEqual([
      `the prefix ${TOKEN} is longer`,
    ]);
    const both = compiled({ ...wild, hosts: ['*.example', 'a.example'] });
    expect(explain('https://a.example/app', both).losers.map(({ because }) => because)).toEqual([
      'host a.example is more specific, and a host never falls through',
    ]);
    const guest = compiled(wild, { ...solver, namespace: 'guest' });
    expect(explain('https://a.example/app', guest)).toMatchObject({
      status: 404,
      winner: null,
      losers: [
        { because: 'host a.example is more specific, and a host never falls through' },
        { because: `path /app does not match Prefix ${TOKEN}` },
      ],
    });
  });
});
