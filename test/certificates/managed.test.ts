import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LocalZone } from '../../local/workers/cloudflare-api/account-state.ts';
import { hasCustomCertificates, zoneOf } from '../../syncer/certificates/zones.ts';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { brief, CloudflareEdge, certificateIn, host, UNIVERSAL } from './support/edge.ts';

/** Certificates that Cloudflare manages: whether each host has one, and who is told when it has not. */

let edge: CloudflareEdge;
let authority: Authority;
beforeAll(async () => {
  edge = await CloudflareEdge.start();
  authority = await newAuthority();
});
afterAll(() => edge?.cf.stop());

const FREE: LocalZone = { id: 'zone-1', name: 'example.com', plan: 'free', packs: [UNIVERSAL] };
beforeEach(() => edge.reset([FREE]));

const pack = (status: string, ...hosts: readonly string[]) => {
  return { id: hosts.join(), type: 'advanced', status, hosts };
};
const minutes = (count: number) => count * 60_000;

describe('which hosts are covered', () => {
  test('by Universal SSL the apex and one level, not two, and the wildcard of one', async () => {
    const hosts = [
      'example.com',
      'a.example.com',
      '*.example.com',
      'b.a.example.com',
      '*.a.example.com',
    ];
    const findings = await (await edge.lead()).run(hosts.map((name) => host(name)));
    expect(brief(findings)).toEqual([
      'CertificateNotCovered b.a.example.com',
      'CertificateNotCovered *.a.example.com',
    ]);
    expect(findings[0]?.text).toMatch(
      /Universal SSL is for example.com and \*.example.com only.*Advanced Certificate Manager.*Total TLS.*custom domain.*Business plan/,
    );
  });

  test('where Universal SSL is off, not by it, and that is the cause for what it would cover', async () => {
    await edge.reset([{ ...FREE, packs: [] }]);
    const deep = '*.a.example.com';
    const hosts = ['example.com', 'a.example.com', '*.example.com', deep];
    const findings = await (await edge.lead()).run(hosts.map((name) => host(name)));
    expect(findings.map(({ hostname }) => hostname)).toEqual(hosts);
    for (const { hostname, text } of findings) {
      const isOff = text.includes('also not Universal SSL, which may be turned off');
      expect([hostname, isOff]).toEqual([hostname, hostname !== deep]);
    }
  });

  test('by an advanced certificate and by a custom domain', async () => {
    const zone = { ...FREE, packs: [UNIVERSAL, pack('active', '*.a.example.com')] };
    await edge.reset([zone]);
    await edge.account({ domains: [{ hostname: 'x.b.example.com', zone: 'zone-1' }] });
    const hosts = ['b.a.example.com', '*.a.example.com', 'x.b.example.com', 'y.b.example.com'];
    const findings = await (await edge.lead()).run(hosts.map((name) => host(name)));
    expect(brief(findings)).toEqual(['CertificateNotCovered y.b.example.com']);
  });

  test('not by one that waits for its validation, which is said', async () => {
    await edge.reset([{ ...FREE, packs: [pack('pending_validation', 'a.b.example.com')] }]);
    const [finding] = await (await edge.lead()).run([host('a.b.example.com')]);
    expect(finding?.reason).toBe('CertificateNotCovered');
    expect(finding?.text).toMatch(/not active yet \(pending_validation\)/);
  });

  test('a host in no zone is told', async () => {
    const findings = await (await edge.lead()).run([host('a.example.org'), host('a.example.com')]);
    expect(brief(findings)).toEqual(['CertificateNotCovered a.example.org']);
    expect(findings[0]?.text).toMatch(/no zone of the account/);
  });

  test('with a Secret and a plan, but managed by choice', async () => {
    await edge.reset([{ ...FREE, plan: 'business' }]);
    const names = ['a.b.example.com'];
    const certificate = certificateIn('a', await authority.issue({ names }));
    const findings = await (await edge.lead({ mode: 'managed' })).run([
      host('a.b.example.com', [certificate]),
    ]);
    expect(brief(findings)).toEqual(['CertificateNotCovered a.b.example.com']);
    expect(findings[0]?.text).toMatch(/CAUSEWAY_CERTIFICATES to auto or custom/);
    expect(await edge.uploads()).toEqual([]);
  });
});

describe('how often is asked', () => {
  test('once while all is well, and again after an hour', async () => {
    const leader = await edge.lead();
    await leader.run([host('a.example.com')]);
    const asked = await edge.tlsCalls();
    expect(asked).toEqual(['GET /zones', 'GET /zones/zone-1/ssl/certificate_packs']);
    await edge.cf.clearFaults();
    await leader.run([host('a.example.com'), host('b.example.com')]);
    await edge.advance(minutes(59));
    await leader.run([host('a.example.com')]);
    expect(await edge.cf.calls()).toEqual([]);
    await edge.advance(minutes(1));
    await leader.run([host('a.example.com')]);
    expect(await edge.tlsCalls()).toEqual(asked);
  });

  test('for a host that is not covered after five minutes, for a new one at once', async () => {
    const leader = await edge.lead();
    expect(await leader.run([host('a.b.example.com')])).toHaveLength(1);
    await edge.account({
      zones: [{ ...FREE, packs: [pack('active', 'a.b.example.com', 'c.d.example.com')] }],
    });
    await edge.advance(minutes(4));
    expect(await leader.run([host('a.b.example.com')])).toHaveLength(1);
    expect(await leader.run([host('a.b.example.com'), host('c.d.example.com')])).toEqual([]);
  });

  test('for a zone that is missing after five minutes', async () => {
    const leader = await edge.lead();
    expect(await leader.run([host('a.example.org')])).toHaveLength(1);
    const packs = [pack('active', 'a.example.org')];
    await edge.account({
      zones: [FREE, { id: 'zone-2', name: 'example.org', plan: 'free', packs }],
    });
    await edge.advance(minutes(4));
    expect(await leader.run([host('a.example.org')])).toHaveLength(1);
    await edge.advance(minutes(1));
    expect(await leader.run([host('a.example.org')])).toEqual([]);
  });

  test('a cluster without TLS asks for nothing but its rows', async () => {
    const leader = await edge.lead();
    await edge.cf.clearFaults();
    await leader.run([]);
    await leader.run([]);
    expect(await edge.cf.calls()).toEqual(['POST raw']);
  });
});

describe('a token that may not', () => {
  const deny = (match: string) =>
    edge.cf.inject({ match, times: 1_000, respond: { kind: 'status', status: 403 } });
  const warnings = () => edge.cf.lines.filter(({ level }) => level === 'warn');

  test.each([
    ['/zones$', 'Zone Read'],
    ['/certificate_packs$', 'Zone SSL and Certificates Edit'],
  ])('%s is told of once, with the permission and the way to silence it', async (match, name) => {
    await deny(match);
    const leader = await edge.lead();
    for (let run = 0; run < 5; run++) {
      expect(await leader.run([host('a.b.example.com')])).toEqual([]);
      await edge.advance(minutes(11));
    }
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]?.message).toContain(`lacks the permission "${name}"`);
    expect(warnings()[0]?.message).toContain('CAUSEWAY_CERTIFICATES=off');
  });

  test('and is told of on the Ingresses when certificates were asked for', async () => {
    await deny('/zones$');
    const findings = await (await edge.lead({ mode: 'managed' })).run([host('a.example.com')]);
    expect(brief(findings)).toEqual(['CertificateNotPublished a.example.com']);
    expect(findings[0]?.text).toContain('Zone Read');
  });

  test('a token that sees no zone at all', async () => {
    await edge.reset([]);
    expect(await (await edge.lead()).run([host('a.example.com')])).toEqual([]);
    expect(warnings()).toHaveLength(1);
    const told = await (await edge.lead({ mode: 'managed' })).run([host('a.example.com')]);
    expect(brief(told)).toEqual(['CertificateNotCovered a.example.com']);
  });

  test('off asks for nothing', async () => {
    const leader = await edge.lead({ mode: 'off' });
    await edge.cf.clearFaults();
    expect(await leader.run([host('a.b.example.com')])).toEqual([]);
    expect(await edge.cf.calls()).toEqual([]);
  });

  test('custom domains need none: their certificates tell', async () => {
    await deny('/workers/domains$');
    const findings = await (await edge.lead()).run([host('a.b.example.com')]);
    expect(brief(findings)).toEqual(['CertificateNotCovered a.b.example.com']);
    expect(warnings()).toEqual([]);
  });
});

test('120 zones are read page by page, and each host is in that with the longest name', async () => {
  const zones = Array.from({ length: 120 }, (_, i): LocalZone => {
    return { id: `zone-${i}`, name: `example-${i}.com`, plan: 'free' };
  });
  await edge.reset(zones);
  const findings = await (await edge.lead()).run([host('a.b.example-119.com')]);
  expect(findings[0]?.text).toContain('zone example-119.com');
  const calls = await edge.tlsCalls();
  expect(calls.filter((it) => it === 'GET /zones')).toHaveLength(3);
});

test('the zone of a host', () => {
  const zones = ['example.com', 'eu.example.com', 'ample.com'].map((name) => {
    return { id: name, name, plan: 'free', customCertificatesMax: 0 };
  });
  const nameOf = (hostname: string) => zoneOf(zones, hostname)?.name ?? null;
  expect(nameOf('example.com')).toBe('example.com');
  expect(nameOf('a.b.example.com')).toBe('example.com');
  expect(nameOf('*.example.com')).toBe('example.com');
  expect(nameOf('eu.example.com')).toBe('eu.example.com');
  expect(nameOf('*.eu.example.com')).toBe('eu.example.com');
  expect(nameOf('neu.example.com')).toBe('example.com');
  expect(nameOf('com')).toBe(null);
  expect(nameOf('sample.com')).toBe(null);
});

test('whether a zone has custom certificates', () => {
  const zone = (plan: string, customCertificatesMax: number | null) => {
    return { id: '', name: '', plan, customCertificatesMax };
  };
  expect(hasCustomCertificates(zone('free', 0))).toBe(false);
  expect(hasCustomCertificates(zone('pro', null))).toBe(false);
  expect(hasCustomCertificates(zone('free', 1))).toBe(true);
  expect(hasCustomCertificates(zone('business', null))).toBe(true);
  expect(hasCustomCertificates(zone('enterprise', 0))).toBe(true);
  expect(hasCustomCertificates(zone('', null))).toBe(false);
});
