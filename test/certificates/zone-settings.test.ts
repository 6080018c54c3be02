import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  parseMinTlsVersion,
  parseZoneHsts,
  type ZoneHsts,
} from '../../syncer/certificates/zone-settings.ts';
import { CloudflareEdge, host, UNIVERSAL } from './support/edge.ts';

/** Settings of whole zones, for those who ask for them. */

let edge: CloudflareEdge;
beforeAll(async () => {
  edge = await CloudflareEdge.start();
});
afterAll(() => edge?.cf.stop());

const ZONES = [
  { id: 'zone-1', name: 'example.com', plan: 'free', packs: [UNIVERSAL] },
  { id: 'zone-2', name: 'example.org', plan: 'free' },
] as const;
beforeEach(() => edge.reset(ZONES));

const HSTS: ZoneHsts = { maxAgeSeconds: 31_536_000, includeSubDomains: true, preload: false };
const setting = async (zone: string, id: string) =>
  (await edge.call<{ value: unknown }>('GET', `/zones/${zone}/settings/${id}`)).value;

test('they are written where they differ, to the zones with TLS hosts and to no other', async () => {
  const zone = { minTlsVersion: '1.2', hsts: HSTS } as const;
  const leader = await edge.lead({ zone });
  expect(await leader.run([host('a.example.com')])).toEqual([]);
  expect(await setting('zone-1', 'min_tls_version')).toBe('1.2');
  expect(await setting('zone-1', 'security_header')).toEqual({
    strict_transport_security: {
      enabled: true,
      max_age: 31_536_000,
      include_subdomains: true,
      preload: false,
      nosniff: false,
    },
  });
  expect(await setting('zone-2', 'min_tls_version')).toBe('1.0');
  await edge.cf.clearFaults();
  await leader.run([host('a.example.com')]);
  expect(await edge.cf.calls()).toEqual([]);
  await (await edge.lead({ zone })).run([host('a.example.com')]);
  expect((await edge.tlsCalls()).filter((it) => it.startsWith('PATCH'))).toEqual([]);
});

test('what is not asked for is left alone, and what else a setting has', async () => {
  const before = { strict_transport_security: { enabled: false, max_age: 0, nosniff: true } };
  const settings = { min_tls_version: '1.1', security_header: before };
  await edge.account({ zones: [{ ...ZONES[0], settings }] });
  await (await edge.lead()).run([host('a.example.com')]);
  expect((await edge.tlsCalls()).join()).not.toContain('settings');
  await (await edge.lead({ zone: { minTlsVersion: null, hsts: HSTS } })).run([
    host('a.example.com'),
  ]);
  expect(await setting('zone-1', 'min_tls_version')).toBe('1.1');
  expect(await setting('zone-1', 'security_header')).toMatchObject({
    strict_transport_security: { enabled: true, nosniff: true },
  });
});

test('also while certificates are left alone, and put back after an hour', async () => {
  const zone = { minTlsVersion: '1.3', hsts: null } as const;
  const leader = await edge.lead({ mode: 'off', zone });
  await leader.run([host('a.example.com')]);
  await edge.call('PATCH', '/zones/zone-1/settings/min_tls_version', { value: '1.0' });
  await leader.run([host('a.example.com')]);
  expect(await setting('zone-1', 'min_tls_version')).toBe('1.0');
  await edge.advance(60 * 60_000);
  await leader.run([host('a.example.com')]);
  expect(await setting('zone-1', 'min_tls_version')).toBe('1.3');
  expect((await edge.tlsCalls()).join()).not.toContain('certificate');
});

test('a token that may not is told of once, and certificates go on', async () => {
  const respond = { kind: 'status', status: 403 } as const;
  await edge.cf.inject({ match: '/settings/', times: 1_000, respond });
  const leader = await edge.lead({ zone: { minTlsVersion: '1.2', hsts: null } });
  for (let run = 0; run < 3; run++) {
    expect(await leader.run([host('a.example.com')])).toEqual([]);
    await edge.advance(11 * 60_000);
  }
  const warnings = edge.cf.lines.filter(({ level }) => level === 'warn');
  expect(warnings.map(({ message }) => message)).toEqual([
    expect.stringContaining('"Zone Settings Edit"'),
  ]);
});

describe('CAUSEWAY_ZONE_HSTS', () => {
  test('is the value of the header', () => {
    expect(parseZoneHsts('max-age=31536000; includeSubDomains; preload')).toEqual({
      maxAgeSeconds: 31_536_000,
      includeSubDomains: true,
      preload: true,
    });
    expect(parseZoneHsts(' PRELOAD ;max-age="0"')).toEqual({
      maxAgeSeconds: 0,
      includeSubDomains: false,
      preload: true,
    });
  });

  test.each([
    ['', /is no directive/],
    ['includeSubDomains', /max-age=SECONDS is missing/],
    ['max-age', /max-age=SECONDS is missing/],
    ['max-age=1; max-age=2', /twice/],
    ['max-age=-1', /is no directive/],
    ['max-age=1; nosniff', /none of max-age/],
    ['max-age=1; preload=1', /takes no value/],
    ['max-age=99999999999999999999', /too large/],
  ])('%j is refused', (text, message) => {
    expect(() => parseZoneHsts(text)).toThrow(message);
  });

  test('whatever comes, it is read as written or refused', () => {
    const directive = fc.constantFrom(
      'includeSubDomains',
      'preload',
      'INCLUDESUBDOMAINS',
      'x',
      ' ',
    );
    const parts = fc.tuple(fc.nat(), fc.array(directive, { maxLength: 3 }));
    fc.assert(
      fc.property(parts, ([seconds, others]) => {
        const text = [`max-age=${seconds}`, ...others].join(';');
        const lower = others.map((it) => it.toLowerCase());
        const isGood =
          lower.every((it) => it === 'includesubdomains' || it === 'preload') &&
          new Set(lower).size === lower.length;
        if (!isGood) {
          expect(() => parseZoneHsts(text)).toThrow();
          return;
        }
        expect(parseZoneHsts(text)).toEqual({
          maxAgeSeconds: seconds,
          includeSubDomains: lower.includes('includesubdomains'),
          preload: lower.includes('preload'),
        });
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(parseZoneHsts(text).maxAgeSeconds).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});

test('CAUSEWAY_ZONE_MIN_TLS_VERSION is one of four', () => {
  expect(parseMinTlsVersion('1.3')).toBe('1.3');
  for (const text of ['1', '1.4', 'TLSv1.2', ' 1.2']) {
    expect(() => parseMinTlsVersion(text)).toThrow(/none of 1.0, 1.1, 1.2, 1.3/);
  }
});
