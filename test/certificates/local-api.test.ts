import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { KeyLeaks } from '../support/key-leaks.ts';
import { BUSINESS, CloudflareEdge } from './support/edge.ts';

/** The local Cloudflare API refuses what production refuses, and forgets keys. */

let edge: CloudflareEdge;
let authority: Authority;
beforeAll(async () => {
  edge = await CloudflareEdge.start();
  authority = await newAuthority();
});
afterAll(() => edge?.cf.stop());
beforeEach(() => edge.reset());

const NAMES = ['app.example.com'];
const PATH = '/zones/zone-1/custom_certificates';
const post = (body: object) => edge.call('POST', PATH, { type: 'sni_custom', ...body });
const bodyOf = ({ certificate, privateKey }: { certificate: string; privateKey: string }) => {
  return { certificate, private_key: privateKey };
};

describe('an upload is refused', () => {
  test.each(['rsa', 'ecdsa'] as const)('with the key of another: %s', async (keyType) => {
    const one = await authority.issue({ names: NAMES, keyType });
    const { privateKey } = await authority.issue({ names: NAMES, keyType });
    await expect(post(bodyOf({ ...one, privateKey }))).rejects.toThrow(/does not belong/);
    await expect(post(bodyOf({ ...one, privateKey: 'no key' }))).rejects.toThrow(/does not belong/);
    await post(bodyOf(one));
    expect(await edge.uploads()).toHaveLength(1);
  });

  test('without a certificate, without a key, as another type', async () => {
    const one = await authority.issue({ names: NAMES });
    await expect(post({})).rejects.toThrow(/must be texts/);
    await expect(post(bodyOf({ ...one, certificate: 'none' }))).rejects.toThrow(/cannot be read/);
    await expect(post({ ...bodyOf(one), type: 'legacy_custom' })).rejects.toThrow(/sni_custom/);
  });

  test('when it has expired, or is for another zone', async () => {
    const past = { notBefore: new Date(Date.now() - 9e8), notAfter: new Date(Date.now() - 1e6) };
    const expired = await authority.issue({ names: NAMES, ...past });
    await expect(post(bodyOf(expired))).rejects.toThrow(/expired/);
    const foreign = await authority.issue({ names: ['app.badexample.com'] });
    await expect(post(bodyOf(foreign))).rejects.toThrow(/no hostname of this zone/);
  });

  test('by the plan, and by the quota of packs', async () => {
    const one = await authority.issue({ names: NAMES });
    await edge.account({ zones: [{ ...BUSINESS, plan: 'pro' }] });
    await expect(post(bodyOf(one))).rejects.toThrow(/plan/);
    await edge.account({ zones: [{ ...BUSINESS, customPacksMax: 1 }] });
    await post(bodyOf(one));
    await post(bodyOf(await authority.issue({ names: NAMES, keyType: 'rsa' })));
    const more = bodyOf(await authority.issue({ names: ['more.example.com'] }));
    await expect(post(more)).rejects.toThrow(/Quota/);
    const [first] = await edge.uploads();
    await expect(edge.call('PATCH', `${PATH}/${first?.id}`, more)).rejects.toThrow(/Quota/);
  });

  test('to a zone, and for an id, that is not there', async () => {
    await expect(edge.call('GET', '/zones/none/custom_certificates')).rejects.toThrow(/7003/);
    await expect(edge.call('DELETE', `${PATH}/none`)).rejects.toThrow(/not found/);
    const one = bodyOf(await authority.issue({ names: NAMES }));
    await expect(edge.call('PATCH', `${PATH}/none`, one)).rejects.toThrow(/not found/);
  });
});

test('packs are those of Cloudflare and those uploaded, one for the same hosts', async () => {
  const pack = { id: 'p', type: 'advanced', hosts: ['x.example.com'] };
  const packs = [
    { ...pack, status: 'active' },
    { ...pack, id: 'q', status: 'pending_validation' },
  ];
  await edge.account({ zones: [{ ...BUSINESS, packs }] });
  await post(bodyOf(await authority.issue({ names: NAMES })));
  await post(bodyOf(await authority.issue({ names: NAMES, keyType: 'rsa' })));
  const listed = (query: string) =>
    edge.call<{ status: string; hosts: string[] }[]>(
      'GET',
      `/zones/zone-1/ssl/certificate_packs${query}`,
    );
  expect((await listed('')).map(({ hosts }) => hosts)).toEqual([['x.example.com'], NAMES]);
  expect(await listed('?status=all')).toHaveLength(3);
});

test('no key is kept', async () => {
  const issued = await authority.issue({ names: NAMES, keyType: 'rsa' });
  const leaks = new KeyLeaks({ it: issued.privateKey });
  const uploaded = await post(bodyOf(issued));
  const kept = JSON.stringify([uploaded, await edge.cf.account()]);
  expect(kept).toContain('app.example.com');
  expect(leaks.in('the account', kept)).toEqual([]);
});

describe('authorities', () => {
  const AUTHORITIES = '/accounts/account-1/mtls_certificates';
  const upload = (certificates: string, ca = true) =>
    edge.call<{ id: string }>('POST', AUTHORITIES, { ca, certificates });
  const ASSOCIATIONS = '/zones/zone-1/certificate_authorities/hostname_associations';

  test('must be some, and one that hosts ask for stays', async () => {
    const leaf = await authority.issue({ names: NAMES });
    await expect(upload(leaf.leaf)).rejects.toThrow(/no certificate authority/);
    await expect(upload('none')).rejects.toThrow(/cannot be read/);
    const { id } = await upload(authority.pem);
    const hosts = (hostnames: readonly string[]) =>
      edge.call('PUT', ASSOCIATIONS, { mtls_certificate_id: id, hostnames });
    await expect(hosts(['app.example.org'])).rejects.toThrow(/no hostname of this zone/);
    await hosts(NAMES);
    await expect(edge.call('DELETE', `${AUTHORITIES}/${id}`)).rejects.toThrow(/in use/);
    await hosts([]);
    await edge.call('DELETE', `${AUTHORITIES}/${id}`);
    await expect(hosts(NAMES)).rejects.toThrow(/not found/);
  });
});

test('settings: what there is, and what it may be', async () => {
  const path = (id: string) => `/zones/zone-1/settings/${id}`;
  await expect(edge.call('GET', path('nothing'))).rejects.toThrow(/Unrecognized/);
  await expect(edge.call('PATCH', path('min_tls_version'), { value: '2' })).rejects.toThrow(
    /Invalid/,
  );
});
