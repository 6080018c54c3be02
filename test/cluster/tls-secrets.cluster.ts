/**
 * Secrets as people and cert-manager handle them, on a real API server: made late, replaced, damaged and
 * deleted. The gateway serves what they say now; the syncer tells of what is wrong with them, uploads
 * them to Cloudflare, and says no private key to anybody else.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LocalCloudflare, syncerSettings } from '../publish/support/cloudflare.ts';
import { type Authority, type Issued, newAuthority, tlsSecret } from '../support/certificates.ts';
import { KeyLeaks } from '../support/key-leaks.ts';
import { RecordingProxy } from '../support/recording-proxy.ts';
import { ask, verdict } from './ask.ts';
import { secretsRead } from './audit.ts';
import { authoritiesSecret, type Client, clientOf } from './clients.ts';
import { Cluster, waitFor } from './cluster.ts';
import { ACCOUNT } from './deploy.ts';
import { eventsOf } from './events-of.ts';
import { figures } from './figures.ts';
import { GatewayProcess } from './gateway-process.ts';
import { shakeHands, untilShown } from './handshake.ts';
import { KeptConnection } from './kept-connection.ts';
import {
  applyAll,
  deployment,
  ingress,
  ingressClass,
  type Manifest,
  namespace,
  nodePortService,
  syncerKubeconfig,
  withTls,
} from './manifests.ts';
import { leaksOfGateway, leaksOfObjects } from './readable-places.ts';
import { challengePath, Solver } from './solver.ts';
import { SyncerProcess } from './syncer-process.ts';

const HTTPS = 443;
const HOST = 'shop.example.com';
/** How often the time until a renewal shows is taken. */
const RENEWALS = 20;

let cluster: Cluster;
let cloudflare: LocalCloudflare;
let api: RecordingProxy;
let gateway: GatewayProcess;
let syncer: SyncerProcess;
let authority: Authority;
const leaks = new KeyLeaks({});

beforeAll(async () => {
  [cluster, cloudflare, authority] = await Promise.all([
    Cluster.start({ nodes: 1, externalHosts: 0 }),
    LocalCloudflare.start(),
    newAuthority(),
  ]);
  api = await RecordingProxy.start(cloudflare.origin);
  const zones = [{ id: 'zone-1', name: 'example.com', plan: 'business', customPacksMax: 100 }];
  await fetch(`${cloudflare.origin}/__account`, { method: 'PUT', body: JSON.stringify({ zones }) });
  const kubeconfig = await syncerKubeconfig(cluster);
  await applyAll(
    cluster,
    ingressClass('causeway', 'causeway.dev/ingress-controller'),
    namespace('other-team'),
    deployment('web'),
    nodePortService('web'),
    withTls(ingress('shop', { [HOST]: { '/': 'web' } }), 'shop-tls'),
  );
  const flags = ['--https-port', String(HTTPS)];
  gateway = new GatewayProcess(cluster, { kubeconfig, flags });
  syncer = new SyncerProcess(cluster, {
    KUBECONFIG: kubeconfig,
    ...syncerSettings(api.origin),
    CAUSEWAY_CERTIFICATES: 'custom',
    CAUSEWAY_LEADER_ELECTION: 'false',
  });
  await cluster.nodePort('default', 'web');
  await Promise.all([gateway.ready(), syncer.says(/^published/)]);
});

afterAll(async () => {
  await syncer?.stop();
  await api?.[Symbol.asyncDispose]();
  await Promise.all([cluster?.stop(), cloudflare?.stop()]);
});

/** A certificate whose key must be seen nowhere. */
async function issue(name: string, options: Partial<Parameters<Authority['issue']>[0]> = {}) {
  const issued = await authority.issue({ names: [HOST], ...options });
  leaks.add(name, issued.privateKey);
  return issued;
}

function write(name: string, issued: Issued, space = 'default'): Promise<void> {
  return applyAll(cluster, tlsSecret(space, name, issued));
}

const shown = (issued: Issued) => untilShown(HTTPS, HOST, issued.certificate, authority.pem);

/**
 * Waits until the gateway has the problem and the syncer has told it on the Ingress. Each message is of
 * one test: what was mended and comes back soon is not told again.
 */
async function untilTold(reason: string, message: RegExp, name = 'shop'): Promise<void> {
  const start = `${reason} Ingress default/${name}: `;
  await gateway.serves(reason, ({ problems }) =>
    problems.some((it) => it.startsWith(start) && message.test(it)),
  );
  await waitFor(`an Event with ${reason}`, async () => {
    const events = await eventsOf(cluster, name);
    return events.some(
      (it) => it.type === 'Warning' && it.reason === reason && message.test(it.note),
    );
  });
}

async function untilMended(): Promise<void> {
  const isMended = (it: string) => !it.includes('default/shop:');
  await gateway.serves('no complaint', ({ problems }) => problems.every(isMended));
}

async function untilUntrusted(host = HOST): Promise<void> {
  await waitFor('the default certificate', async () => {
    return (await shakeHands(HTTPS, host, authority.pem)).refusal !== null;
  });
}

describe('a Secret', () => {
  let first: Issued;

  test('that comes after its Ingress is served when it comes', async () => {
    await untilTold('SecretNotFound', /default\/shop-tls/);
    await untilUntrusted();
    first = await issue('the first');
    await write('shop-tls', first);
    await shown(first);
    await untilMended();
    expect((await ask(HTTPS, { host: HOST, ca: authority.pem })).from).toBe('default/web');
  });

  test(`that is replaced serves new handshakes; the time it takes, ${RENEWALS} times`, async () => {
    using kept = new KeptConnection(HTTPS, HOST, authority.pem);
    const before = await kept.ask();
    const took: number[] = [];
    for (let n = 0; n < RENEWALS; n++) {
      const next = await issue(`renewal ${n}`, { keyType: n % 2 === 0 ? 'ecdsa' : 'rsa' });
      const writtenMs = performance.now();
      await write('shop-tls', next);
      await shown(next);
      took.push(performance.now() - writtenMs);
      // The same connection as before.
      expect(await kept.ask()).toEqual(before);
    }
    expect(before.status).toBe(200);
    console.log(`a renewed Secret, from writing it to its first handshake: ${figures(took)}`);
  });

  test.each<[string, RegExp, () => Promise<Manifest>]>([
    ['with a key that is none', /tls\.key is not a PEM private key/, garbageKey],
    ["with another certificate's key", /tls\.key does not belong/, anothersKey],
    ['that has expired', /expired/, expired],
    ['for another name', /does not cover/, foreignName],
    [
      'with nothing in it',
      /data has no tls\.crt/,
      async () => ({ ...(await expired()), data: { 'tls.crt': '', 'tls.key': '' } }),
    ],
  ])('%s is refused, and served again once it is mended', async (_, message, make) => {
    await applyAll(cluster, await make());
    await untilTold('SecretInvalid', message);
    await untilUntrusted();
    await write('shop-tls', first);
    await shown(first);
    await untilMended();
  });
});

/** The search finds all pieces of a key, so half of it as well. */
async function garbageKey(): Promise<Manifest> {
  const issued = await issue('the abridged');
  const privateKey = issued.privateKey.slice(0, issued.privateKey.length / 2);
  return tlsSecret('default', 'shop-tls', { ...issued, privateKey });
}

async function anothersKey(): Promise<Manifest> {
  const [issued, another] = await Promise.all([issue('mismatched'), issue("another's")]);
  return tlsSecret('default', 'shop-tls', { ...issued, privateKey: another.privateKey });
}

async function expired(): Promise<Manifest> {
  const day = 24 * 60 * 60_000;
  const dates = { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - day) };
  return tlsSecret('default', 'shop-tls', await issue('the expired', dates));
}

async function foreignName(): Promise<Manifest> {
  return tlsSecret('default', 'shop-tls', await issue('the other', { names: ['other.example'] }));
}

describe('a Secret that is deleted', () => {
  const host = 'gone.example.com';
  const gone = (issued: Issued) => untilShown(HTTPS, host, issued.certificate, authority.pem);

  test("gives way to the next of its namespace, and then to nobody else's", async () => {
    const [own, spare, theirs] = await Promise.all(
      ['own', 'spare', 'theirs'].map((name) => issue(name, { names: [host] })),
    );
    if (!own || !spare || !theirs) throw new Error('three were asked for');
    await write('own-tls', own);
    await write('spare-tls', spare);
    await write('own-tls', theirs, 'other-team');
    const foreign = { namespace: 'other-team' };
    await applyAll(cluster, withTls(ingress('own', { [host]: { '/': 'web' } }), 'own-tls'));
    await gone(own);
    await applyAll(
      cluster,
      withTls(ingress('spare', { [host]: { '/spare': 'web' } }), 'spare-tls'),
      nodePortService('web', foreign),
      withTls(ingress('theirs', { [host]: { '/theirs': 'web' } }, foreign), 'own-tls'),
    );
    const refused = 'HostSettingIgnored Ingress other-team/theirs';
    await gateway.serves('all three', (view) => view.hasProblem(refused));
    await cluster.kubectl(['delete', 'secret', 'own-tls']);
    await gone(spare);
    await untilTold('SecretNotFound', /default\/own-tls/, 'own');
    await cluster.kubectl(['delete', 'secret', 'spare-tls']);
    await untilTold('SecretNotFound', /default\/spare-tls/, 'spare');
    await untilUntrusted(host);
  });
});

describe('the authorities of clients', () => {
  test('are read from a Secret that comes late, and from the next one', async () => {
    const served = await issue('the private');
    await write('shop-tls', served);
    await shown(served);
    const [ours, others] = await Promise.all([newAuthority('Ours'), newAuthority('Others')]);
    const clients = await Promise.all([ours, others].map((it) => clientOf(it)));
    for (const { key } of clients) leaks.add('a client', key);
    const annotations = { 'nginx.ingress.kubernetes.io/auth-tls-secret': 'default/clients' };
    await cluster.api.patch('/apis/networking.k8s.io/v1/namespaces/default/ingresses/shop', {
      metadata: { annotations },
    });
    await untilTold('SecretNotFound', /default\/clients/);
    expect(await statuses(clients)).toEqual([403, 403, 403]);
    await expectChallengesOnly();
    await applyAll(cluster, authoritiesSecret(ours));
    await waitFor('ours', async () => String(await statuses(clients)) === '403,200,403');
    await applyAll(cluster, authoritiesSecret(others));
    await waitFor('theirs', async () => String(await statuses(clients)) === '403,403,200');
  });
});

/** The CA has no certificate of theirs; and nobody gets to the application by a path alone. */
async function expectChallengesOnly(): Promise<void> {
  const challenge = { namespace: 'default', domain: HOST, token: 'token', key: 'token.thumbprint' };
  const options = { pathType: 'Exact', classBy: 'field' } as const;
  const solver = await Solver.present(cluster, challenge, options);
  await solver.selfCheck(gateway.port);
  const path = challengePath('nobodys');
  expect(await verdict(gateway.port, { host: HOST, path })).toBe('403 edge');
  await solver.cleanUp();
}

/** Of a client without a certificate, and of each of these. */
function statuses(clients: readonly Client[]): Promise<number[]> {
  const question = { host: HOST, ca: authority.pem };
  const all = [question, ...clients.map((client) => ({ ...question, client }))];
  return Promise.all(all.map(async (it) => (await ask(HTTPS, it)).status));
}

test('no Secret was read but those that Ingresses of their namespace name', () => {
  const named = ['default/clients', 'default/own-tls', 'default/shop-tls', 'default/spare-tls'];
  expect(secretsRead(ACCOUNT)).toEqual([...named, 'other-team/own-tls']);
});

describe('a private key', () => {
  test('is in nothing that a gateway and a cluster show', async () => {
    expect(await leaksOfGateway(leaks, gateway)).toEqual([]);
    expect(await leaksOfObjects(leaks, cluster)).toEqual([]);
    const secrets = await cluster.kubectl(['get', 'secrets', '-o', 'json']);
    expect(leaks.in('the Secrets', secrets)).not.toEqual([]);
  });

  test('is in nothing that the syncer says, but for the upload of its certificate', async () => {
    const { probePort } = await syncer.says(/^started/);
    const metrics = await (await fetch(`http://127.0.0.1:${probePort}/metrics`)).text();
    expect(metrics).toContain('causeway_');
    expect(leaks.in('the metrics', metrics)).toEqual([]);
    expect(leaks.in("the syncer's log", syncer.log())).toEqual([]);
    expect(api.exchanges.flatMap((it) => it.leaked(leaks))).toEqual([]);
    const uploads = api.exchanges.filter((it) => it.isUpload);
    expect(uploads.flatMap((it) => leaks.in('an upload', it.requestBody))).not.toEqual([]);
  });
});
