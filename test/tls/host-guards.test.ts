import { beforeAll, describe, expect, test } from 'vitest';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { type Asking, compiledAt, tlsIngress } from '../support/tls-ingress.ts';

// Who guards a host, where several Ingresses name it: no mistake may open a door.

const NGINX = 'nginx.ingress.kubernetes.io';
const AUTH = { 'auth-tls-secret': 'shop/ca' };
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

function compiled(...asking: readonly Guarded[]) {
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

type Compiled = ReturnType<typeof compiled>;

const hostOf = ({ snapshot }: Compiled, name: string) =>
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
