/**
 * cert-manager's HTTP-01 flow through the edge, as Let's Encrypt sees it: a real CA validates on port 80,
 * what it issued is served on port 443, and what answered the challenge leaves no trace.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KeyLeaks } from '../support/key-leaks.ts';
import { type CertificateRequest, CertManager } from './acme-issuer.ts';
import { type Answer, ask, verdict } from './ask.ts';
import { secretsRead } from './audit.ts';
import { Cluster, waitFor } from './cluster.ts';
import { rowsInD1 } from './d1-file.ts';
import { ACCOUNT } from './deploy.ts';
import { figures } from './figures.ts';
import { GatewayProcess } from './gateway-process.ts';
import { shakeHands, untilShown } from './handshake.ts';
import { KeptConnection } from './kept-connection.ts';
import {
  applyAll,
  deployment,
  ingress,
  ingressClass,
  namespace,
  nodePortService,
  syncerKubeconfig,
  withTls,
} from './manifests.ts';
import { Pebble } from './pebble.ts';
import { leaksOfGateway, leaksOfObjects } from './readable-places.ts';
import { challengePath, Solver, type SolverOptions } from './solver.ts';
import { answeredBy, Traffic } from './traffic.ts';

// The edge is a network namespace of this run alone. With the ports of production a redirect names none.
const HTTP = 80;
const HTTPS = 443;

/** Of how many challenges the time is taken. */
const CHALLENGES = 20;

let cluster: Cluster;
let gateway: GatewayProcess;
let certManager: CertManager;
/** PEM of the root behind what the CA issues. */
let root: string;

beforeAll(async () => {
  cluster = await Cluster.start({ externalHosts: 0 });
  const kubeconfig = await syncerKubeconfig(cluster);
  const shop = ingress('shop', {
    'shop.example.com': { '/': 'web' },
    'www.example.com': { '/': 'web' },
  });
  const wild = ingress('wild', { '*.wild.example.com': { '/': 'web' } });
  await applyAll(
    cluster,
    ingressClass('causeway', 'causeway.dev/ingress-controller'),
    ingressClass('other', 'acme.example/other'),
    namespace('other-team'),
    deployment('web'),
    nodePortService('web'),
    withTls(shop, 'shop-tls'),
    withTls(ingress('alone', { 'alone.example.com': { '/': 'web' } }), 'alone-tls'),
    withTls(wild, 'wild-tls', ['one.wild.example.com']),
  );
  gateway = new GatewayProcess(cluster, {
    kubeconfig,
    port: HTTP,
    flags: ['--https-port', String(HTTPS), '--host-ownership', 'strict'],
  });
  const pebble = await Pebble.start(cluster);
  certManager = await CertManager.start(cluster, pebble, HTTP);
  root = await pebble.root();
  await cluster.nodePort('default', 'web');
  await gateway.ready();
  await gateway.serves('the hosts', (view) => view.upstream('*.wild.example.com') !== undefined);
});

afterAll(() => cluster?.stop());

const SHOP: CertificateRequest = {
  namespace: 'default',
  secretName: 'shop-tls',
  names: ['shop.example.com', 'www.example.com'],
  keyType: 'rsa',
  solver: { pathType: 'Exact', classBy: 'field' },
};

describe('a host whose Secret is not there yet', () => {
  test('sends visitors to https, and whoever comes for a challenge to the application', async () => {
    const { status, headers } = await ask(HTTP, { host: 'shop.example.com', path: '/cart?item=1' });
    const location = 'https://shop.example.com/cart?item=1';
    expect([status, headers.location]).toEqual([308, location]);
    const path = challengePath('nobodys');
    expect(await verdict(HTTP, { host: 'shop.example.com', path })).toBe('200 default/web');
  });

  test('has a certificate that nobody trusts, and the problem says why', async () => {
    expect((await shakeHands(HTTPS, 'shop.example.com', root)).refusal).not.toBeNull();
    const problem = 'SecretNotFound Ingress default/shop';
    await gateway.serves('the problem', (view) => view.hasProblem(problem));
  });
});

describe('an order', () => {
  test('for two hosts makes both of them trusted', async () => {
    const issued = await certManager.obtain(SHOP, async (solvers) => {
      expect(solvers).toHaveLength(2);
      await Promise.all(solvers.map(expectNothingElse));
      const { problems } = await gateway.serves('the solvers', () => true);
      const theirs = problems.filter((it) => it.includes('cm-acme'));
      // As of every Service here: the nodes have private addresses only.
      expect(theirs.filter((it) => !it.startsWith('EndpointNotPublic Service '))).toEqual([]);
    });
    await certManager.write(SHOP, issued);
    for (const host of SHOP.names) {
      const { names } = await untilShown(HTTPS, host, issued.certificate, root);
      expect(names).toBe('DNS:shop.example.com, DNS:www.example.com');
      const { from, echo } = await ask(HTTPS, { host, ca: root });
      expect([from, echo?.headers['x-forwarded-proto']]).toEqual(['default/web', 'https']);
    }
    await untilForgotten();
    const problem = 'SecretNotFound Ingress default/shop';
    await gateway.serves('no complaint', (view) => !view.hasProblem(problem));
  });

  test('that renews is noticed by nobody', async () => {
    const solver = { pathType: 'ImplementationSpecific', classBy: 'annotation' } as const;
    const renewal: CertificateRequest = { ...SHOP, keyType: 'ecdsa', solver };
    using kept = new KeptConnection(HTTPS, 'shop.example.com', root);
    const before = await kept.ask();
    const question = { host: 'shop.example.com' };
    const traffic = [
      Traffic.start({ port: HTTP, question, check: sentToHttps }),
      Traffic.start({
        port: HTTPS,
        question: { ...question, ca: root },
        check: answeredBy('default/web'),
      }),
    ];
    const issued = await certManager.obtain(renewal);
    await certManager.write(renewal, issued);
    await untilShown(HTTPS, 'shop.example.com', issued.certificate, root);
    const soFar = traffic.map((it) => it.count);
    const goesOn = () => traffic.every((it, index) => it.count > (soFar[index] ?? 0) + 5);
    await waitFor('traffic to go on', goesOn);
    await Promise.all(traffic.map((it) => it.stop()));
    expect(traffic.flatMap((it) => it.failures)).toEqual([]);
    expect(before.status).toBe(200);
    expect(await kept.ask()).toEqual(before);
    await untilShown(HTTPS, 'www.example.com', issued.certificate, root);
    await untilForgotten();
  });

  test("whose challenges are answered by the application's own Ingress", async () => {
    const solver = { ...SHOP.solver, existing: 'alone' };
    const names = ['alone.example.com'];
    const request: CertificateRequest = { ...SHOP, secretName: 'alone-tls', names, solver };
    const issued = await certManager.obtain(request);
    await certManager.write(request, issued);
    await untilShown(HTTPS, 'alone.example.com', issued.certificate, root);
    const answer = { host: 'alone.example.com', ca: root };
    expect(await verdict(HTTPS, answer)).toBe('200 default/web');
    await untilForgotten();
  });

  test('for one host of a wildcard leaves the other hosts of it alone', async () => {
    const names = ['one.wild.example.com'];
    const request: CertificateRequest = { ...SHOP, secretName: 'wild-tls', names };
    const question = { host: 'two.wild.example.com' };
    const check = answeredBy('default/web');
    const traffic = Traffic.start({ port: HTTP, question, check });
    const issued = await certManager.obtain(request);
    await certManager.write(request, issued);
    await untilShown(HTTPS, 'one.wild.example.com', issued.certificate, root);
    await untilForgotten();
    await traffic.stop();
    expect([traffic.failures, traffic.count > 0]).toEqual([[], true]);
    // The host of its own that the challenge had is gone: the wildcard serves it again.
    const answer = { host: 'one.wild.example.com', ca: root };
    expect(await verdict(HTTPS, answer)).toBe('200 default/web');
  });
});

/** A challenge is answered for its host and its path, and for nothing else. */
async function expectNothingElse({ challenge: { domain, key }, path }: Solver): Promise<void> {
  const others = SHOP.names.filter((it) => it !== domain);
  for (const host of others) expect((await ask(HTTP, { host, path })).text).not.toBe(key);
  expect(await verdict(HTTP, { host: domain, path: `${path}x` })).toBe('200 default/web');
  expect((await ask(HTTP, { host: domain })).status).toBe(308);
}

/** Nothing names the objects that answered a challenge: no route, no upstream, no problem. */
async function untilForgotten(): Promise<void> {
  const isForgotten = (text: string) => !text.includes('cm-acme-http-solver');
  await gateway.serves('no solver', (view) => isForgotten(JSON.stringify(view)));
  expect(rowsInD1(gateway.persist, 'problems').filter((row) => !isForgotten(row))).toEqual([]);
}

function sentToHttps({ status, headers: { location } }: Answer): string | null {
  const isRight = status === 308 && location === 'https://shop.example.com/';
  return isRight ? null : `${status} ${location}`;
}

let challenges = 0;

async function present(
  options: Partial<SolverOptions> = {},
  where = { namespace: 'default', domain: 'shop.example.com' },
): Promise<Solver> {
  const token = `token-${++challenges}`;
  const challenge = { ...where, token, key: `${token}.thumbprint` };
  return Solver.present(cluster, challenge, { pathType: 'Exact', classBy: 'field', ...options });
}

describe('a challenge is not answered by', () => {
  test.each(['annotation', 'field'] as const)(
    'a solver of another controller (class by %s)',
    async (classBy) => {
      const theirs = await present({ classBy, className: 'other' });
      // The gateway hears of both in order, so once it answers this one it has left out the other.
      const ours = await present();
      await ours.selfCheck(HTTP);
      const question = { host: 'shop.example.com', path: theirs.path };
      expect(await verdict(HTTP, question)).toBe('200 default/web');
      await Promise.all([theirs.cleanUp(), ours.cleanUp()]);
      await untilForgotten();
    },
  );

  test('a solver in a namespace that does not own the host', async () => {
    const where = { namespace: 'other-team', domain: 'shop.example.com' };
    const solver = await present({}, where);
    await gateway.serves('the refusal', (view) =>
      view.problems.some((it) => it.startsWith('HostOwned Ingress other-team/cm-acme-')),
    );
    const question = { host: 'shop.example.com', path: solver.path };
    expect(await verdict(HTTP, question)).toBe('200 default/web');
    await solver.cleanUp();
    await untilForgotten();
  });
});

test(`the time until a challenge is answered, ${CHALLENGES} times`, async () => {
  const took: number[] = [];
  for (let n = 0; n < CHALLENGES; n++) {
    const solver = await present();
    took.push(await solver.selfCheck(HTTP));
    await solver.cleanUp();
  }
  await untilForgotten();
  console.log(`HTTP-01, from the creation of the Ingress to the right answer: ${figures(took)}`);
});

test('no private key is anywhere but in its Secret', async () => {
  const leaks = new KeyLeaks(certManager.keys);
  // The account's key, and one for each order.
  expect(Object.keys(certManager.keys)).toHaveLength(5);
  expect(await leaksOfGateway(leaks, gateway)).toEqual([]);
  expect(await leaksOfObjects(leaks, cluster)).toEqual([]);
  expect(leaks.places.length).toBeGreaterThan(5);
  const secrets = await cluster.kubectl(['get', 'secrets', '-o', 'json']);
  expect(leaks.in('the Secrets', secrets)).not.toEqual([]);
});

test('the Secret in which a key waits for its certificate was never read', () => {
  const names = secretsRead(ACCOUNT);
  expect(names).toEqual(['default/alone-tls', 'default/shop-tls', 'default/wild-tls']);
});
