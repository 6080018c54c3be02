import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Gateway } from '../../local/gateway.ts';
import { type Authority, type Issued, newAuthority, tlsSecret } from '../support/certificates.ts';
import { startFilesGateway } from '../support/files-gateway.ts';
import { freePort } from '../support/free-port.ts';
import { valueIn } from '../support/message.ts';
import { send } from '../support/rig.ts';
import { handshake, sendTls, shownTo } from '../support/tls-client.ts';

// What is written in manifests, as clients of the whole gateway meet it.

const HOUR_MS = 60 * 60_000;
const MANY = Array.from({ length: 100 }, (_, i) => `host-${i}.example`);

let folder: string;
let gateway: Gateway;
let ports: { readonly http: number; readonly https: number };
let authority: Authority;
let passing: Issued;
let next: Issued;

/** An Ingress of one host; `more` is of its metadata. */
function ingressText(name: string, { className = 'causeway', more = '', tls = '' }): string {
  return `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: ${name}${more && `, ${more}`} }
spec:
  ingressClassName: ${className}
  tls: [${tls}]
  rules:
    - host: ${name}.example
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }
---`;
}

const annotations = (said: Readonly<Record<string, string>>) =>
  `annotations: ${JSON.stringify(
    Object.fromEntries(
      Object.entries(said).map(([name, value]) => [`nginx.ingress.kubernetes.io/${name}`, value]),
    ),
  )}`;
const under = (...names: readonly string[]) =>
  names.map((name) => `{ secretName: ${name} }`).join();

const HSTS = {
  hsts: 'true',
  'hsts-max-age': '600',
  'hsts-include-subdomains': 'true',
  'hsts-preload': 'true',
};

function manifests(nodePort: number): string {
  return [
    ingressText('usual', { tls: under('names') }),
    ingressText('plain', { tls: under('names'), more: annotations({ 'ssl-redirect': 'false' }) }),
    ingressText('bare', {}),
    ingressText('forced', { more: annotations({ 'force-ssl-redirect': 'true' }) }),
    ingressText('hsts', { tls: under('names'), more: annotations(HSTS) }),
    ingressText('class', { className: 'strict', tls: under('names') }),
    ingressText('class-bare', { className: 'strict' }),
    ingressText('no-secret', { tls: '{ hosts: [no-secret.example] }' }),
    ingressText('common-name', { tls: under('common-name') }),
    ingressText('host-0', { tls: `{ hosts: [${MANY}], secretName: many }` }),
    ingressText('renewed', { tls: under('expired', 'passing', 'next') }),
    `
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: strict }
spec:
  controller: causeway.dev/ingress-controller
  parameters: { kind: ConfigMap, name: strict, namespace: default, scope: Namespace }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: strict }
data: { force-ssl-redirect: 'true', hsts: 'true', hsts-max-age: '300' }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80, nodePort: ${nodePort} }] }
`,
  ].join('');
}

function write(base: string, text: string): void {
  // At once, so that no half of it is read.
  writeFileSync(join(folder, 'draft'), text);
  renameSync(join(folder, 'draft'), join(folder, base));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'causeway-manifests-'));
  authority = await newAuthority();
  const names = ['usual', 'plain', 'hsts', 'class'].map((name) => `${name}.example`);
  const renewed = { names: ['renewed.example'] };
  const before = { notBefore: new Date(Date.now() - 2 * HOUR_MS) };
  const until = (ms: number) => ({ ...before, notAfter: new Date(Date.now() + ms) });
  passing = await authority.issue({ ...renewed, ...until(HOUR_MS) });
  next = await authority.issue(renewed);
  const secrets = {
    // In the subject alternative name alone, as authorities issue them by now.
    names: await authority.issue({ names, commonName: '' }),
    'common-name': await authority.issue({ names: [], commonName: 'common-name.example' }),
    many: await authority.issue({ names: MANY }),
    expired: await authority.issue({ ...renewed, ...until(-HOUR_MS) }),
    passing,
    next,
  };
  const items = Object.entries(secrets).map(([name, it]) => tlsSecret('default', name, it));
  write('secrets.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  write('manifests.yaml', manifests(await freePort()));
  gateway = await startFilesGateway(folder, { echo: true });
  const portOf = (url: string) => Number(new URL(url).port);
  ports = { http: portOf(gateway.httpUrl), https: portOf(gateway.httpsUrl) };
});

afterEach(() => vi.useRealTimers());

afterAll(async () => {
  await gateway?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

async function overHttp(name: string) {
  const answer = await send(ports.http, { host: `${name}.example`, target: '/a/?b=c' });
  return [answer.status, valueIn(answer, 'location')];
}

async function overTls(name: string) {
  const answer = await sendTls(ports.https, { host: `${name}.example` });
  return [answer.status, valueIn(answer, 'strict-transport-security')];
}

describe('what an Ingress says', () => {
  it.each(['usual', 'forced', 'hsts', 'no-secret', 'class', 'class-bare'])(
    'sends plain requests to https: %s',
    async (name) => {
      const location = `https://${name}.example:${ports.https}/a/?b=c`;
      expect(await overHttp(name)).toEqual([308, location]);
    },
  );

  it.each(['plain', 'bare'])('lets plain requests be: %s', async (name) => {
    expect(await overHttp(name)).toEqual([200, null]);
  });

  it.each([
    ['hsts', 'max-age=600; includeSubDomains; preload'],
    ['class', 'max-age=300'],
    ['usual', null],
    ['plain', null],
    ['bare', null],
  ])('is the Strict-Transport-Security of its host: %s', async (name, expected) => {
    expect(await overTls(name)).toEqual([200, expected]);
  });
});

describe('a client trusts', () => {
  it('a host whose name is in the subject alternative name alone, and none by its common name', async () => {
    const ca = authority.pem;
    const answer = await sendTls(ports.https, { host: 'usual.example' }, { ca });
    expect(answer.status).toBe(200);
    const fallback = await shownTo(ports.https, 'nobody.example');
    expect(await shownTo(ports.https, 'common-name.example')).toBe(fallback);
    expect(await shownTo(ports.https, 'no-secret.example')).toBe(fallback);
  });

  it('each of the hundred hosts of one certificate', async () => {
    for (const name of MANY) {
      const socket = await handshake(ports.https, name, { ca: authority.pem });
      expect(socket.authorized).toBe(true);
      socket.destroy();
    }
  });
});

it('a certificate that has expired, before or by now, gives way to the next', async () => {
  const shown = () => shownTo(ports.https, 'renewed.example');
  expect(await shown()).toBe(passing.fingerprint);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * HOUR_MS });
  // Whatever has the gateway look again; its resync does once a minute.
  write('more.yaml', ingressText('more', {}));
  await expect.poll(shown, { timeout: 10_000 }).toBe(next.fingerprint);
});
