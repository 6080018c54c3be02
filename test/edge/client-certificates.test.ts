import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import { type Authority, type Issued, newAuthority } from '../support/certificates.ts';
import { type ServerMessage, valueIn, valuesOf } from '../support/message.ts';
import { type Rig, startRig } from '../support/rig.ts';
import { type HostSettings, snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { clientAuth, sendToWorker, type WorkerRequest } from '../support/worker-request.ts';

const HOSTS = ['on', 'optional', 'any', 'nobody', 'optional-nobody', 'strangers', 'deep', 'open'];
const FOLDER = '/.well-known/acme-challenge';
const CHALLENGE = '/.well-known/acme-challenge/token';

describe('client certificates', () => {
  let rig: Rig;
  let upstream: Upstream;
  let root: Authority;
  let other: Authority;
  let client: Issued;
  let stranger: Issued;

  beforeAll(async () => {
    [root, other] = await Promise.all([newAuthority('Root'), newAuthority('Other')]);
    client = await root.issue({ names: [], commonName: 'alice', client: true });
    stranger = await other.issue({ names: [], commonName: 'alice', client: true });
    upstream = await Upstream.start(answering(ok('served')));
    rig = await startRig();
    const paths = { '/': upstream.port, [CHALLENGE]: upstream.port, '/none': [] };
    const hosts = Object.fromEntries(HOSTS.map((it) => [`${it}.example`, paths]));
    const solver = { '/': upstream.port, [FOLDER]: upstream.port };
    const snapshot = snapshotOf({ ...hosts, 'solver.example': solver });
    await rig.publish(
      withSettings(snapshot, {
        'on.example': policy({}),
        'optional.example': policy({ verify: 'optional' }),
        'solver.example': policy({}),
        'any.example': policy({ verify: 'optional_no_ca', passToUpstream: true }),
        'nobody.example': policy({ authorities: [] }),
        'optional-nobody.example': policy({ verify: 'optional', authorities: [] }),
        'strangers.example': policy({ authorities: [other.pem, root.pem] }),
        'deep.example': policy({ depthMax: 2, passToUpstream: true }),
      }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  function policy(settings: Partial<ClientCertificatePolicy>): HostSettings {
    const authorities = [root.pem];
    return { clientCertificates: { verify: 'on', authorities, depthMax: 1, ...settings } };
  }

  const NONE = { certPresented: '0', certVerified: 'NONE', certRevoked: '0' };

  async function status(host: string, tlsClientAuth: unknown, request: WorkerRequest = {}) {
    const cf = { tlsClientAuth };
    const response = await sendToWorker(rig, { host: `${host}.example`, cf, ...request });
    expect(upstream.dials > 0).toBe(response.status === 200);
    return response.status;
  }

  it('let in who has one of the authority', async () => {
    for (const host of ['on', 'optional', 'any', 'strangers', 'deep']) {
      upstream.clear();
      expect(await status(host, clientAuth(client))).toBe(200);
    }
  });

  it('are asked for where the policy is on', async () => {
    for (const nothing of [NONE, undefined, null, {}, 'SUCCESS', { certVerified: 'SUCCESS' }]) {
      expect(await status('on', nothing)).toBe(403);
    }
    const response = await sendToWorker(rig, { host: 'on.example', cf: { tlsClientAuth: NONE } });
    expect(response.startLine).toBe('HTTP/1.1 403 Forbidden');
    const id = valueIn(response, 'x-request-id');
    expect(String(response.body)).toBe(`403 Forbidden\nrequest id: ${id}\n`);
  });

  it('may be left out where they are optional', async () => {
    expect(await status('optional', NONE)).toBe(200);
    expect(valueIn(upstream.request, 'ssl-client-verify')).toBe('NONE');
  });

  it('are none over http, whatever is said', async () => {
    const scheme = 'http';
    expect(await status('on', clientAuth(client), { scheme })).toBe(403);
    expect(await status('optional', clientAuth(client), { scheme })).toBe(200);
    expect(valueIn(upstream.request, 'ssl-client-verify')).toBe('NONE');
  });

  it.each([
    ['that was not verified', { certVerified: 'FAILED:certificate has expired' }],
    ['that nobody looked at', { certVerified: 'NONE' }],
    ['of which nothing is said', { certVerified: undefined }],
    ['of which nonsense is said', { certVerified: ['SUCCESS'] }],
    ['that was revoked', { certRevoked: '1' }],
    ['too large to be shown', { certRFC9440: '', certRFC9440TooLarge: true }],
    ['that is none', { certRFC9440: ':AAAA:' }],
    ['in no form that we know', { certRFC9440: 'AAAA' }],
  ])('%s lets nobody in, where it counts', async (_, facts) => {
    expect(await status('on', clientAuth(client, facts))).toBe(403);
    expect(await status('optional', clientAuth(client, facts))).toBe(403);
    expect(await status('any', clientAuth(client, facts))).toBe(200);
    expect(valueIn(upstream.request, 'ssl-client-verify')).toMatch(/^FAILED:./);
  });

  it('that were verified for another host are held against this one', async () => {
    expect(await status('on', clientAuth(stranger))).toBe(403);
    expect(await status('optional', clientAuth(stranger))).toBe(403);
    expect(await status('strangers', clientAuth(stranger))).toBe(200);
    // Not even now that it is known.
    upstream.clear();
    expect(await status('on', clientAuth(stranger))).toBe(403);
    expect(await status('any', clientAuth(stranger))).toBe(200);
    expect(valueIn(upstream.request, 'ssl-client-verify')).toBe(
      'FAILED:no chain to an authority of this host',
    );
  });

  it('let nobody in where no authority is known', async () => {
    expect(await status('nobody', clientAuth(client))).toBe(403);
    expect(await status('nobody', NONE)).toBe(403);
    expect(await status('optional-nobody', clientAuth(client))).toBe(403);
    expect(await status('optional-nobody', NONE)).toBe(200);
  });

  it('of an impostor with the name of the authority let nobody in', async () => {
    const impostor = await (await newAuthority('Root')).issue({ names: [], commonName: 'alice' });
    expect(await status('on', clientAuth(impostor))).toBe(403);
  });

  it('may come over intermediates, as many as the policy allows', async () => {
    const one = await root.intermediate('One');
    const two = await one.intermediate('Two');
    const three = await two.intermediate('Three');
    const issue = (authority: Authority) =>
      authority.issue({ names: [], commonName: 'alice', client: true, keyType: 'rsa' });
    const [byOne, byTwo, byThree] = await Promise.all([one, two, three].map(issue));
    if (!byOne || !byTwo || !byThree) throw new Error('not issued');
    const statuses = [];
    for (const host of ['on', 'deep', 'on']) {
      for (const issued of [byOne, byTwo, byThree]) {
        upstream.clear();
        statuses.push(await status(host, clientAuth(issued)));
      }
    }
    expect(statuses).toEqual([200, 403, 403, 200, 200, 403, 200, 403, 403]);
  });

  it('without their intermediates are refused, and let in when they bring them', async () => {
    const issued = await (await root.intermediate('Mid')).issue({ names: ['b'], client: true });
    const alone = { certChainRFC9440: '', certChainRFC9440TooLarge: true };
    expect(await status('on', clientAuth(issued, alone))).toBe(403);
    expect(await status('on', clientAuth(issued))).toBe(200);
    // What is known of a certificate stays true when its session is resumed without them.
    upstream.clear();
    expect(await status('on', clientAuth(issued, alone))).toBe(200);
  });

  it.each([
    ['has ended', -2_000, -1_000],
    ['has not begun', 60_000, 120_000],
  ])('whose time %s are refused, whoever verified them', async (_, fromMs, toMs) => {
    const issued = await root.issue({
      names: ['c'],
      notBefore: new Date(Date.now() + fromMs),
      notAfter: new Date(Date.now() + toMs),
    });
    expect(await status('on', clientAuth(issued))).toBe(403);
  });

  it('that were good are refused once they have ended', async () => {
    // Certificates have whole seconds, and may be used to the end of the last.
    const endMs = Math.floor(Date.now() / 1000) * 1000 + 5_000;
    const issued = await root.issue({ names: ['d'], notAfter: new Date(endMs) });
    expect(await status('on', clientAuth(issued))).toBe(200);
    while (Date.now() <= endMs) await setTimeout(endMs + 1 - Date.now());
    upstream.clear();
    expect(await status('on', clientAuth(issued))).toBe(403);
  });

  it('are not asked for by the answer to a challenge of ACME, nor by http', async () => {
    expect(await status('on', NONE, { target: CHALLENGE })).toBe(200);
    expect(await status('on', NONE, { target: CHALLENGE, scheme: 'http' })).toBe(200);
    expect(await status('solver', NONE, { target: CHALLENGE })).toBe(200);
    upstream.clear();
    expect(await status('solver', NONE, { target: `${FOLDER}s/token` })).toBe(403);
  });

  it.each([
    '/.well-known/acme-challenge/other',
    '/.well-known/acme-challenge/..%2f..%2fadmin',
    '/.well-known/acme-challenge/%2e%2e/%2e%2e/admin',
  ])('are asked for at %s, which another route serves', async (target) => {
    expect(await status('on', NONE, { target })).toBe(403);
    expect(await status('on', NONE, { target, scheme: 'http' })).toBe(403);
  });

  it.each(['', '/', '/..%2f..%2fadmin', '/..;/..;/admin', '/token/x', '/token;x', '/%74oken'])(
    'are asked for at %j in the folder of challenges, which is the path of none',
    async (rest) => {
      expect(await status('solver', NONE, { target: `${FOLDER}${rest}` })).toBe(403);
      upstream.clear();
      expect(await status('solver', clientAuth(client), { target: `${FOLDER}${rest}` })).toBe(200);
    },
  );

  it('come before endpoints, and after routes', async () => {
    expect(await status('on', NONE, { target: '/none' })).toBe(403);
    expect(await status('on', clientAuth(client), { target: '/none' })).toBe(503);
    expect(await status('unknown', NONE)).toBe(404);
  });

  it('are asked for on a connection of the host itself: by another one it is 421', async () => {
    const cf = { tlsServerName: 'open.example', tlsClientAuth: NONE };
    expect(await status('on', NONE, { cf })).toBe(421);
    expect(await status('optional', NONE, { cf })).toBe(421);
    expect(await status('on', NONE, { cf: { ...cf, tlsServerName: 'on.example' } })).toBe(403);
    expect(await status('on', NONE, { cf: { ...cf, tlsServerName: 'unknown' } })).toBe(403);
    expect(await status('open', NONE, { cf: { ...cf, tlsServerName: 'on.example' } })).toBe(200);
  });

  it('leave the cause to the log, without the certificate', async () => {
    const auth = clientAuth(stranger) as { readonly certRFC9440: string };
    const cf = { tlsClientAuth: auth };
    const response = await sendToWorker(rig, { host: 'on.example', cf });
    const line = await rig.log.line(valueIn(response, 'x-request-id') ?? 'no id');
    expect(JSON.parse(line)).toMatchObject({
      level: 'warn',
      reason: 'ClientRefused',
      host: 'on.example',
      cause: 'client certificate: FAILED:no chain to an authority of this host',
    });
    expect(line).not.toContain(auth.certRFC9440.slice(1, 100));
    expect(`${JSON.stringify(response.headers)}${response.body}`).not.toContain('authority');
  });

  describe('tell the upstream', () => {
    const told = (request: ServerMessage) =>
      request.headers.filter(([name]) => /^ssl[-_]client/i.test(name));

    it('what was found, and who it is', async () => {
      const issued = await root.issue({ names: [], commonName: 'al\u00edce, "x"', client: true });
      const auth = clientAuth(issued, {
        certSubjectDNRFC2253: 'CN=al\u00edce\\, \\"x\\",O=o\r\nX: y',
      });
      expect(await status('on', auth)).toBe(200);
      expect(told(upstream.request)).toEqual([
        ['ssl-client-verify', 'SUCCESS'],
        ['ssl-client-subject-dn', 'CN=al\\C3\\ADce\\, \\"x\\",O=o\\0D\\0AX: y'],
        ['ssl-client-issuer-dn', 'CN=Root'],
      ]);
    });

    it('the certificate itself, where it is to be passed on', async () => {
      expect(await status('deep', clientAuth(client))).toBe(200);
      const pem = decodeURIComponent(valueIn(upstream.request, 'ssl-client-cert') ?? '');
      expect(pem.trim()).toBe(client.leaf.trim());
    });

    it('of one that was not verified, too, where all are let in', async () => {
      const facts = { certVerified: 'FAILED:self signed certificate' };
      expect(await status('any', clientAuth(stranger, facts))).toBe(200);
      expect(told(upstream.request)).toEqual([
        ['ssl-client-verify', 'FAILED:self signed certificate'],
        ['ssl-client-subject-dn', 'CN=alice'],
        ['ssl-client-issuer-dn', 'CN=Other'],
        ['ssl-client-cert', expect.stringMatching(/^-----BEGIN%20CERTIFICATE-----%0A/)],
      ]);
    });

    it('nothing where the host has no policy, and never what the client says', async () => {
      const headers = [
        'ssl-client-verify: SUCCESS',
        'SSL-Client-Subject-DN: CN=root',
        'ssl_client_cert: x',
        'Ssl_Client-Verify: SUCCESS',
        'ssl-client-anything: x',
      ];
      expect(await status('open', clientAuth(client), { headers })).toBe(200);
      expect(told(upstream.request)).toEqual([]);
      upstream.clear();
      expect(await status('optional', NONE, { headers })).toBe(200);
      expect(told(upstream.request)).toEqual([['ssl-client-verify', 'NONE']]);
      expect(valuesOf(upstream.request, 'ssl_client_cert')).toEqual([]);
    });

    it('where there is nothing else to tell: the host of a challenge', async () => {
      expect(await status('on', NONE, { target: CHALLENGE })).toBe(200);
      expect(told(upstream.request)).toEqual([['ssl-client-verify', 'NONE']]);
    });
  });
});
