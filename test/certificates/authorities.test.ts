import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FaultResponse } from '../../local/workers/cloudflare-api/faults.ts';
import { UNUSED_MS } from '../../syncer/certificates/custom-plan.ts';
import type { WantedHost } from '../../syncer/certificates/wanted.ts';
import { newAuthority } from '../support/certificates.ts';
import { brief, CloudflareEdge, host, UNIVERSAL } from './support/edge.ts';

/** Authorities of client certificates, and the hosts that ask for them. */

let edge: CloudflareEdge;
let pems: readonly string[];
beforeAll(async () => {
  edge = await CloudflareEdge.start();
  const names = ['one', 'two', 'three', 'four', 'five', 'six'];
  pems = await Promise.all(names.map(async (name) => (await newAuthority(name)).pem));
});
afterAll(() => edge?.cf.stop());

const ENTERPRISE = {
  id: 'zone-1',
  name: 'example.com',
  plan: 'enterprise',
  packs: [UNIVERSAL],
} as const;
beforeEach(() => edge.reset([ENTERPRISE]));

const asking = (hostname: string, ...authorities: readonly string[]): WantedHost =>
  host(hostname, [], { verify: 'on', authorities, depthMax: 1 });

interface Listed {
  readonly id: string;
  readonly name: string;
  readonly certificates: string;
}
const listed = () => edge.call<readonly Listed[]>('GET', '/accounts/account-1/mtls_certificates');
const PATH = '/zones/zone-1/certificate_authorities/hostname_associations';
const hostsOf = async (id: string | undefined) =>
  (await edge.call<{ hostnames: string[] }>('GET', `${PATH}?mtls_certificate_id=${id}`)).hostnames;
const put = (id: string | undefined, hostnames: readonly string[]) =>
  edge.call('PUT', PATH, { mtls_certificate_id: id, hostnames });

test('an authority is uploaded once, its hosts ask for its clients, and then no call is made', async () => {
  const leader = await edge.lead();
  const wanted = [asking('a.example.com', pems[0] ?? ''), asking('b.example.com', pems[0] ?? '')];
  expect(await leader.run(wanted)).toEqual([]);
  const [authority, ...more] = await listed();
  expect(more).toEqual([]);
  expect(authority?.certificates.trim()).toBe(pems[0]?.trim());
  expect(await hostsOf(authority?.id)).toEqual(['a.example.com', 'b.example.com']);
  await edge.cf.clearFaults();
  await leader.run(wanted);
  expect(await edge.cf.calls()).toEqual([]);
  await (await edge.lead()).run(wanted);
  expect((await edge.tlsCalls()).filter((it) => !it.startsWith('GET'))).toEqual([]);
});

test('hosts that come and go; those of somebody else stay', async () => {
  const leader = await edge.lead();
  await leader.run([asking('a.example.com', pems[0] ?? '')]);
  const [authority] = await listed();
  await put(authority?.id, ['a.example.com', 'by-hand.example.com']);
  await leader.run([asking('b.example.com', pems[0] ?? '')]);
  expect(await hostsOf(authority?.id)).toEqual(['b.example.com', 'by-hand.example.com']);
});

test('what no host asks for: its hosts at once, the authority after a while', async () => {
  const leader = await edge.lead();
  await leader.run([asking('a.example.com', pems[0] ?? ''), host('c.example.com')]);
  const [authority] = await listed();
  await leader.run([host('a.example.com')]);
  expect(await hostsOf(authority?.id)).toEqual([]);
  await edge.advance(UNUSED_MS - 1_000);
  await leader.run([host('a.example.com')]);
  expect(await listed()).toHaveLength(1);
  await edge.advance(1_000);
  await leader.run([]);
  expect(await listed()).toEqual([]);
  expect(await edge.rows()).toEqual([]);
});

test('one that somebody else uploaded is neither used nor deleted', async () => {
  await edge.call('POST', '/accounts/account-1/mtls_certificates', {
    ca: true,
    certificates: pems[0],
    name: 'by hand',
  });
  const leader = await edge.lead();
  await leader.run([asking('a.example.com', pems[0] ?? '')]);
  expect(await listed()).toHaveLength(2);
  await leader.run([]);
  await edge.advance(UNUSED_MS);
  await leader.run([]);
  expect((await listed()).map(({ name }) => name)).toEqual(['by hand']);
});

describe('refusals', () => {
  test.each([
    ['/zones$', 'Zone Read'],
    ['/mtls_certificates$', 'Account SSL and Certificates Edit'],
  ])('a token that may not %s is told on the Ingress', async (match, permission) => {
    const respond = { kind: 'status', status: 403 } as const;
    await edge.cf.inject({ match, times: 1_000, respond });
    const findings = await (await edge.lead()).run([
      asking('a.example.com', pems[0] ?? ''),
      host('b.example.com'),
    ]);
    expect(brief(findings)).toEqual(['CertificateNotPublished a.example.com']);
    expect(findings[0]?.text).toMatch(
      new RegExp(`no client gets in by its certificate: .*"${permission}"`),
    );
  });

  test('a plan that has no own authorities is told without a call', async () => {
    await edge.reset([{ ...ENTERPRISE, plan: 'business' }]);
    const findings = await (await edge.lead()).run([asking('a.example.com', pems[0] ?? '')]);
    expect(brief(findings)).toEqual(['PlanInsufficient a.example.com']);
    expect(findings[0]?.text).toMatch(
      /plan business.*need Enterprise, so no client gets in by its certificate/,
    );
    expect((await edge.tlsCalls()).join()).not.toContain('mtls');
  });

  test('one too many is told, the others are there', async () => {
    const leader = await edge.lead();
    const wanted = pems.map((pem, index) => asking(`h${index}.example.com`, pem));
    const findings = await leader.run(wanted);
    expect(brief(findings)).toEqual(['PlanInsufficient h5.example.com']);
    expect(findings[0]?.text).toMatch(/Hit maximum CA cert allocation/);
    expect(await listed()).toHaveLength(5);
    await edge.account({ authoritiesMax: 9 });
    await edge.advance(11 * 60_000);
    expect(await leader.run(wanted)).toEqual([]);
  });
});

describe.each<FaultResponse>([
  { kind: 'refuse' },
  { kind: 'drop' },
  { kind: 'only', statements: [0] },
])('a process that dies by %j', (respond) => {
  /** Rows, zones, packs, row, upload, row, row, hosts, hosts, row. */
  const CALLS = 10;

  test('at any call leaves what the next one mends', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset([ENTERPRISE]);
      const wanted = [asking('a.example.com', pems[0] ?? '')];
      expect(await edge.dieAt(k, respond, wanted)).toBe(true);
      const next = await edge.lead();
      await next.run(wanted);
      const [authority, ...more] = await listed();
      expect(more).toEqual([]);
      expect(await hostsOf(authority?.id)).toEqual(['a.example.com']);
      await next.run([]);
      await edge.advance(UNUSED_MS);
      await next.run([]);
      expect(await listed()).toEqual([]);
      expect(await edge.rows()).toEqual([]);
    }
  });

  test('at any call of taking it away, too', async () => {
    for (let k = 0; k < 9; k++) {
      await edge.reset([ENTERPRISE]);
      const first = await edge.lead();
      await first.run([asking('a.example.com', pems[0] ?? '')]);
      await edge.dieAt(k, respond, []);
      const next = await edge.lead();
      await next.run([]);
      await edge.advance(UNUSED_MS);
      await next.run([]);
      expect(await listed()).toEqual([]);
      expect(await edge.rows()).toEqual([]);
    }
  });
});
