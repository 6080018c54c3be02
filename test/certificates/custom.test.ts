import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { UNUSED_MS } from '../../syncer/certificates/custom-plan.ts';
import type { WantedHost } from '../../syncer/certificates/wanted.ts';
import type { Authority, Issued } from '../support/certificates.ts';
import {
  BUSINESS,
  brief,
  CloudflareEdge,
  certificateIn,
  host,
  newRenewal,
} from './support/edge.ts';

/** Certificates of Secrets as custom certificates of a zone, against the local API in workerd. */

let edge: CloudflareEdge;
let authority: Authority;
let first: Issued;
let renewed: Issued;
const NAMES = ['app.example.com'];
const HOUR_MS = 60 * 60_000;

beforeAll(async () => {
  edge = await CloudflareEdge.start();
  ({ authority, first, renewed } = await newRenewal(NAMES));
});
afterAll(() => edge?.cf.stop());
beforeEach(() => edge.reset());

const app = (issued: Issued, secret = 'app'): WantedHost =>
  host('app.example.com', [certificateIn(secret, issued)]);
const ids = async () => (await edge.uploads()).map(({ id }) => id);

describe('the life of a certificate', () => {
  test('it is uploaded with its chain, and a row says what it is', async () => {
    const leader = await edge.lead();
    expect(await leader.run([app(first)])).toEqual([]);
    const [uploaded, ...more] = await edge.uploads();
    expect(more).toEqual([]);
    expect(uploaded).toMatchObject({ hosts: NAMES, bundle_method: 'force', status: 'active' });
    const { fingerprint, notAfterMs } = certificateIn('app', first);
    expect(await edge.rows()).toMatchObject([
      {
        cluster: 'test',
        kind: 'server',
        zone: BUSINESS.id,
        secret_namespace: 'shop',
        secret_name: 'app',
        key_type: 'ecdsa',
        remote_id: uploaded?.id,
        fingerprint,
        names: JSON.stringify(NAMES),
        not_after_ms: notAfterMs,
        state: 'uploaded',
        unused_since_ms: 0,
      },
    ]);
  });

  test('a run without changes costs no call, nor does the first of the next leader upload', async () => {
    const leader = await edge.lead();
    await leader.run([app(first)]);
    await edge.cf.clearFaults();
    await leader.run([app(first)]);
    expect(await edge.cf.calls()).toEqual([]);
    const before = await edge.rows();
    await (await edge.lead()).run([app(first)]);
    expect(await edge.rows()).toEqual(before);
    expect(await edge.tlsCalls()).toEqual(['GET /zones', 'GET /zones/zone-1/custom_certificates']);
  });

  test('a renewal replaces it: a new id, and the old one is gone', async () => {
    const leader = await edge.lead();
    await leader.run([app(first)]);
    const before = await ids();
    await leader.run([app(renewed)]);
    const after = await ids();
    expect(after).toHaveLength(1);
    expect(after).not.toEqual(before);
    expect(await edge.rows()).toMatchObject([{ remote_id: after[0], state: 'uploaded' }]);
    expect((await edge.tlsCalls()).filter((it) => it.startsWith('PATCH'))).toHaveLength(1);
  });

  test('a renewal with other names replaces it too', async () => {
    const leader = await edge.lead();
    await leader.run([app(first)]);
    await leader.run([app(await authority.issue({ names: [...NAMES, 'www.example.com'] }))]);
    expect(await edge.uploads()).toMatchObject([{ hosts: [...NAMES, 'www.example.com'] }]);
    expect(await edge.rows()).toHaveLength(1);
  });

  test('what nothing asks for any more goes after a while, also past a change of leaders', async () => {
    const leader = await edge.lead();
    await leader.run([app(first)]);
    await leader.run([]);
    await edge.advance(UNUSED_MS - 1_000);
    await leader.run([]);
    expect(await ids()).toHaveLength(1);
    const next = await edge.lead();
    await next.run([]);
    expect(await ids()).toHaveLength(1);
    await edge.advance(1_000);
    await next.run([]);
    expect(await ids()).toEqual([]);
    expect(await edge.rows()).toEqual([]);
  });

  test('a Secret that is deleted and made again finds its certificate as it was', async () => {
    const leader = await edge.lead();
    await leader.run([app(first)]);
    const before = await ids();
    await leader.run([]);
    await edge.advance(UNUSED_MS - 1_000);
    await leader.run([app(first)]);
    await edge.advance(UNUSED_MS);
    await leader.run([app(first)]);
    expect(await ids()).toEqual(before);
    expect(await edge.rows()).toMatchObject([{ unused_since_ms: 0 }]);
  });

  test('managed by choice from now on: they go after a while; off leaves them', async () => {
    const packs = [{ id: 'p', type: 'advanced', status: 'active', hosts: NAMES }];
    await edge.reset([{ ...BUSINESS, packs }]);
    await (await edge.lead({ mode: 'custom' })).run([app(first)]);
    const off = await edge.lead({ mode: 'off' });
    await off.run([app(first)]);
    await edge.advance(UNUSED_MS);
    await off.run([app(first)]);
    expect(await ids()).toHaveLength(1);
    const managed = await edge.lead({ mode: 'managed' });
    await managed.run([app(first)]);
    await edge.advance(UNUSED_MS);
    expect(await managed.run([app(first)])).toEqual([]);
    expect(await ids()).toEqual([]);
  });

  test('one that somebody deleted by hand is uploaded again within the hour', async () => {
    const leader = await edge.lead();
    await leader.run([app(first)]);
    const [before] = await ids();
    await edge.call('DELETE', `/zones/zone-1/custom_certificates/${before}`);
    await leader.run([app(first)]);
    expect(await ids()).toEqual([]);
    await edge.advance(HOUR_MS);
    await leader.run([app(first)]);
    expect(await ids()).toHaveLength(1);
    expect(edge.cf.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', message: expect.stringMatching(/deleted by some/) }),
    );
  });
});

describe('which certificates', () => {
  test('one for each type of key, which together are one pack', async () => {
    await edge.reset([{ ...BUSINESS, customPacksMax: 1 }]);
    const rsa = certificateIn('app', await authority.issue({ names: NAMES, keyType: 'rsa' }));
    const ecdsa = certificateIn('app-ecdsa', first);
    const leader = await edge.lead();
    expect(await leader.run([host('app.example.com', [rsa, ecdsa])])).toEqual([]);
    expect(await ids()).toHaveLength(2);
    expect((await edge.rows()).map((row) => row.key_type).sort()).toEqual(['ecdsa', 'rsa']);
  });

  test('a copy in another namespace, or another for the same names, is not uploaded twice', async () => {
    const copy = host('app.example.com', [certificateIn('copy', first, 'blog')]);
    const leader = await edge.lead();
    await leader.run([app(first), copy]);
    expect(await ids()).toHaveLength(1);
    // Both are renewed one after the other: the one that is valid for longer serves both.
    const before = await ids();
    await leader.run([
      app(first),
      host('app.example.com', [certificateIn('copy', renewed, 'blog')]),
    ]);
    expect(await ids()).not.toEqual(before);
    expect(await edge.rows()).toMatchObject([
      { secret_namespace: 'blog', fingerprint: renewed.fingerprint },
    ]);
    const after = await ids();
    await leader.run([app(renewed), copy]);
    expect(await ids()).toEqual(after);
  });

  test('100 hosts in one are one upload', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `host-${i}.example.com`);
    const certificate = certificateIn('many', await authority.issue({ names }));
    const leader = await edge.lead();
    expect(await leader.run(names.map((name) => host(name, [certificate])))).toEqual([]);
    expect(await edge.tlsCalls()).toHaveLength(3);
    expect(await edge.uploads()).toMatchObject([{ hosts: names }]);
  });

  test('each zone gets those of its hosts, the longest name decides', async () => {
    const inner = { ...BUSINESS, id: 'zone-2', name: 'eu.example.com' };
    await edge.reset([BUSINESS, inner]);
    const names = ['app.example.com', '*.eu.example.com'];
    const both = certificateIn('both', await authority.issue({ names }));
    const leader = await edge.lead();
    await leader.run([host('app.example.com', [both]), host('*.eu.example.com', [both])]);
    expect(await edge.uploads('zone-1')).toHaveLength(1);
    expect(await edge.uploads('zone-2')).toHaveLength(1);
    await leader.run([host('app.example.com', [both])]);
    await edge.advance(UNUSED_MS);
    await leader.run([host('app.example.com', [both])]);
    expect(await edge.uploads('zone-1')).toHaveLength(1);
    expect(await edge.uploads('zone-2')).toEqual([]);
  });
});

describe('what Cloudflare refuses', () => {
  const hosts = async (count: number) => {
    const names = Array.from({ length: count }, (_, i) => `host-${i}.example.com`);
    return Promise.all(
      names.map(async (name) => {
        return host(name, [certificateIn(name, await authority.issue({ names: [name] }))]);
      }),
    );
  };

  test('one too many is told with the way out; the others are served', async () => {
    await edge.reset([{ ...BUSINESS, customPacksMax: 3 }]);
    const leader = await edge.lead();
    const wanted = await hosts(5);
    const findings = await leader.run(wanted);
    expect(await edge.uploads()).toHaveLength(3);
    const refused = findings.filter(({ reason }) => reason === 'CertificateNotPublished');
    expect(refused).toHaveLength(2);
    expect(refused[0]?.text).toMatch(/no room for another one; delete one .*Quota exceeded/);
    // One is asked for, the next is known to have no room.
    expect((await edge.tlsCalls()).filter((it) => it.startsWith('POST'))).toHaveLength(4);
    // And what has none is looked for among the others of the zone.
    expect(brief(findings)).toContain(`CertificateNotCovered ${refused[0]?.hostname}`);

    await edge.cf.clearFaults();
    expect(brief(await leader.run(wanted))).toEqual(brief(findings));
    expect(await edge.cf.calls()).toEqual([]);
    await edge.account({ zones: [{ ...BUSINESS, customPacksMax: 9 }] });
    await edge.advance(11 * 60_000);
    expect(await leader.run(wanted)).toEqual([]);
    expect(await edge.uploads()).toHaveLength(5);
  });

  test('what Universal SSL covers is served by that meanwhile', async () => {
    const pack = { id: 'p', type: 'universal', status: 'active' };
    const packs = [{ ...pack, hosts: ['example.com', '*.example.com'] }];
    await edge.reset([{ ...BUSINESS, customPacksMax: 0, packs, plan: 'business' }]);
    const leader = await edge.lead({ mode: 'custom' });
    expect(brief(await leader.run([app(first)]))).toEqual(['PlanInsufficient app.example.com']);
  });

  test('a plan without custom certificates is told without a call, but only to who wants them', async () => {
    await edge.reset([{ ...BUSINESS, plan: 'free' }]);
    const custom = await (await edge.lead({ mode: 'custom' })).run([app(first)]);
    expect(brief(custom)[0]).toBe('PlanInsufficient app.example.com');
    expect(custom[0]?.text).toMatch(/Secret shop\/app .* need a Business .* has the plan free/);
    expect(await edge.tlsCalls()).not.toContain('POST /zones/zone-1/custom_certificates');
    const auto = await (await edge.lead({ mode: 'auto' })).run([app(first)]);
    expect(brief(auto)).toEqual(['CertificateNotCovered app.example.com']);
  });

  test('one that would serve the host of another namespace is not offered', async () => {
    const both = certificateIn(
      'both',
      await authority.issue({ names: [...NAMES, 'b.example.com'] }),
    );
    const withheld = { certificate: both, hostname: 'b.example.com', owner: 'blog' };
    const wanted = { ...host('app.example.com'), withheld: [withheld] };
    const leader = await edge.lead();
    const findings = await leader.run([wanted]);
    expect(brief(findings)).toEqual([
      'CertificateNotPublished app.example.com',
      'CertificateNotCovered app.example.com',
    ]);
    expect(findings[0]?.text).toMatch(/Secret shop\/both .* b.example.com .* namespace blog/);
    expect(await ids()).toEqual([]);
    // Where Cloudflare's own are used, nothing is asked of it.
    const managed = await (await edge.lead({ mode: 'managed' })).run([wanted]);
    expect(brief(managed)).toEqual(['CertificateNotCovered app.example.com']);
  });

  test('one that is bad hurts only itself, and the one before it goes on', async () => {
    const leader = await edge.lead();
    const other = host('other.example.com', [
      certificateIn('other', await authority.issue({ names: ['other.example.com'] })),
    ]);
    await leader.run([app(first), other]);
    const before = await ids();
    const past = { notBefore: new Date(Date.now() - 9e8), notAfter: new Date(Date.now() - 1e6) };
    const expired = app(await authority.issue({ names: NAMES, ...past }));
    const stranger = await authority.issue({ names: ['app.example.org'] });
    const elsewhere = host('www.example.com', [certificateIn('elsewhere', stranger)]);
    const findings = await leader.run([expired, elsewhere, other]);
    expect(brief(findings)).toEqual(
      expect.arrayContaining([
        'CertificateNotPublished app.example.com',
        'CertificateNotPublished www.example.com',
      ]),
    );
    expect(findings.map(({ text }) => text).join()).toMatch(/has expired/);
    expect(await ids()).toEqual(before);
    // Its row is as before: the next good one replaces it.
    expect(brief(await leader.run([app(renewed), other]))).toEqual([]);
    expect(await edge.uploads()).toHaveLength(2);
  });
});
