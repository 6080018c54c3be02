import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readConfig } from '../../syncer/config.ts';
import { syncerSettings } from '../publish/support/cloudflare.ts';
import { newAuthority, tlsSecret } from '../support/certificates.ts';
import { Cli } from '../support/cli.ts';
import { KeyLeaks } from '../support/key-leaks.ts';
import { StillApiServer } from '../support/still-api-server.ts';
import { tlsIngress } from '../support/tls-ingress.ts';
import { BUSINESS, CloudflareEdge } from './support/edge.ts';

/** `causeway sync` as a process: certificates go up, and what could not be had comes back. */

let edge: CloudflareEdge;
let directory: string;
beforeAll(async () => {
  edge = await CloudflareEdge.start();
  directory = mkdtempSync(join(tmpdir(), 'causeway-certificates-'));
});
afterAll(async () => {
  await edge?.cf.stop();
  rmSync(directory, { recursive: true, force: true });
});

const SETTINGS = {
  CAUSEWAY_LEADER_ELECTION: 'false',
  CAUSEWAY_PROBE_HOST: '127.0.0.1',
  CAUSEWAY_PROBE_PORT: '0',
  POD_NAME: 'it',
};

test('a certificate goes up, and an Ingress hears of the host that has none', async () => {
  await edge.reset([{ ...BUSINESS, packs: [] }]);
  const issued = await (await newAuthority()).issue({ names: ['app.example.com'] });
  const leaks = new KeyLeaks({ app: issued.privateKey });
  const hosts = ['app.example.com', 'a.b.example.com'];
  const ingress = tlsIngress({
    hosts,
    tls: [{ hosts: hosts.slice(0, 1), secretName: 'app' }, { hosts: hosts.slice(1) }],
  });
  const ingressClass = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name: 'causeway' },
    spec: { controller: 'causeway.dev/ingress-controller' },
  };
  const objects = [ingressClass, ingress, tlsSecret('shop', 'app', issued)];
  await using server = await StillApiServer.start(objects);
  writeFileSync(join(directory, 'kubeconfig'), server.kubeconfig);
  await using cli = Cli.start(['sync'], {
    cwd: directory,
    env: {
      ...SETTINGS,
      ...syncerSettings(edge.cf.origin),
      KUBECONFIG: join(directory, 'kubeconfig'),
    },
  });
  const uploaded = await cli.stdout.until(/"msg":"uploaded a certificate"/);
  expect(JSON.parse(uploaded)).toMatchObject({ secret: 'shop/app', zone: 'example.com' });
  // An Event on the Ingress: so the problem went through the loop, the compilation and the followers.
  await server.until(['CertificateNotCovered']);
  cli.kill('SIGTERM');
  expect(await cli.ended).toEqual({ code: 0, signal: null });
  expect(await edge.uploads()).toMatchObject([{ hosts: ['app.example.com'] }]);
  expect(
    await edge.cf.rows('SELECT name, reason FROM problems WHERE reason LIKE ?', 'Certificate%'),
  ).toEqual([{ name: 'web', reason: 'CertificateNotCovered' }]);

  expect(leaks.in('the log', [...cli.stdout.all, ...cli.stderr.all].join('\n'))).toEqual([]);
  expect(leaks.in('Events', server.written.join('\n'))).toEqual([]);
  expect(leaks.in('D1', JSON.stringify(await edge.rows()))).toEqual([]);
  // Nor does the local API keep what it was sent.
  const account = await edge.cf.account();
  expect(JSON.stringify(account)).toContain('app.example.com');
  expect(leaks.in('the account', JSON.stringify(account))).toEqual([]);
});

test('settings', () => {
  const read = (env: Record<string, string>) =>
    readConfig({ ...syncerSettings('http://unused'), ...SETTINGS, ...env }).certificates;
  expect(read({})).toEqual({ mode: 'auto', zone: { minTlsVersion: null, hsts: null } });
  expect(
    read({
      CAUSEWAY_CERTIFICATES: 'managed',
      CAUSEWAY_ZONE_MIN_TLS_VERSION: '1.2',
      CAUSEWAY_ZONE_HSTS: 'max-age=300',
    }),
  ).toEqual({
    mode: 'managed',
    zone: {
      minTlsVersion: '1.2',
      hsts: { maxAgeSeconds: 300, includeSubDomains: false, preload: false },
    },
  });
  const wrong = { CAUSEWAY_CERTIFICATES: 'own', CAUSEWAY_ZONE_HSTS: 'forever' };
  expect(() => read(wrong)).toThrow(/CAUSEWAY_CERTIFICATES: "own" .*CAUSEWAY_ZONE_HSTS: /);
});
