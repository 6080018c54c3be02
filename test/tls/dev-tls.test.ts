import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, type Issued, newAuthority, tlsSecret } from '../support/certificates.ts';
import { Cli } from '../support/cli.ts';
import { freePort } from '../support/free-port.ts';
import { readHead, readRequest, readResponse, valueIn } from '../support/message.ts';
import { headText, send } from '../support/rig.ts';
import { handshake, sendTls, shownTo } from '../support/tls-client.ts';
import { ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

// `causeway dev` as a whole, with manifests of its own.

const HOST = 'shop.example';

let cwd: string;
let upstream: Upstream;
let dev: Cli;
let ports: { readonly http: number; readonly https: number };
let authority: Authority;
let current: Issued;
const keys: string[] = [];

async function start(): Promise<void> {
  const flags = ['--http-port', '0', '--https-port', '0', '--persist', 'state'];
  dev = Cli.start(['dev', 'manifests.json', ...flags], { cwd });
  const [, http, https] =
    /http=http:\S+:(\d+) https=https:\S+:(\d+) /.exec(await dev.stdout.until(/^causeway ready/)) ??
    [];
  ports = { http: Number(http), https: Number(https) };
}

async function renew(): Promise<void> {
  current = await authority.issue({ names: [HOST] });
  keys.push(current.privateKey);
  write(tlsSecret('default', 'shop', current));
}

function write(secret: object): void {
  const backend = { service: { name: 'shop', port: { number: 80 } } };
  const http = { paths: [{ path: '/', pathType: 'Prefix', backend }] };
  const items = [
    secret,
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata: { name: 'shop' },
      spec: { tls: [{ hosts: [HOST], secretName: 'shop' }], rules: [{ host: HOST, http }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'shop' },
      spec: {
        type: 'NodePort',
        selector: { app: 'shop' },
        ports: [{ port: 80, nodePort: upstream.port }],
      },
    },
  ];
  // At once, so that no half of it is read.
  const draft = join(cwd, 'draft');
  writeFileSync(draft, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  renameSync(draft, join(cwd, 'manifests.json'));
}

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'causeway-tls-'));
  const port = await freePort();
  upstream = await Upstream.start(
    async (wire) => {
      const { target } = await readRequest(wire);
      if (target !== '/slow') return wire.end(ok('fast'));
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst');
    },
    '127.0.0.1',
    port,
  );
  authority = await newAuthority();
  await renew();
  await start();
});

afterAll(async () => {
  await dev?.[Symbol.asyncDispose]();
  await upstream?.[Symbol.asyncDispose]();
  if (cwd) rmSync(cwd, { recursive: true, force: true });
});

describe('causeway dev', () => {
  it('serves a host over TLS with the certificate of its Secret, and sends others there', async () => {
    const trusting = { ca: authority.pem };
    const answer = await sendTls(ports.https, { host: HOST, target: '/x' }, trusting);
    expect([answer.status, answer.body.toString()]).toEqual([200, 'fast']);
    const redirect = await send(ports.http, { host: HOST, target: '/x?y=1' });
    expect(redirect.status).toBe(308);
    expect(valueIn(redirect, 'location')).toBe(`https://${HOST}:${ports.https}/x?y=1`);
  });

  it('shows a renewed certificate while an answer over the old one goes on', async () => {
    upstream.clear();
    const old = current.fingerprint;
    const wire = new Wire(await handshake(ports.https, HOST, { ca: authority.pem }));
    wire.write(headText({ host: HOST, target: '/slow', headers: ['Connection: keep-alive'] }));
    await readHead(wire);
    expect((await wire.bytes(5)).toString()).toBe('first');
    await renew();
    await dev.stdout.until(/^causeway reloaded/);
    expect(await shownTo(ports.https, HOST)).toBe(current.fingerprint);
    expect(current.fingerprint).not.toBe(old);
    (await upstream.wire(0)).write('again');
    expect((await wire.bytes(5)).toString()).toBe('again');
    // And the connection with it.
    wire.write(headText({ host: HOST }));
    expect((await readResponse(wire)).body.toString()).toBe('fast');
    wire.destroy();
  });

  it('shows the default certificate for a Secret that cannot be served, and says what is wrong', async () => {
    const secret = tlsSecret('default', 'shop', current);
    const other = await authority.issue({ names: [HOST] });
    keys.push(other.privateKey);
    write({ ...secret, data: { ...secret.data, 'tls.key': btoa(other.privateKey) } });
    await dev.stdout.until(/^causeway reloaded/);
    const line = await dev.stderr.until(/SecretInvalid/);
    expect(line).toMatch(/^error SecretInvalid Ingress default\/shop: .*tls\.key does not belong/);
    expect(await shownTo(ports.https, HOST)).toBe(await shownTo(ports.https, 'nobody.example'));
    expect((await sendTls(ports.https, { host: HOST })).status).toBe(200);
    await renew();
    await dev.stdout.until(/^causeway reloaded/);
    expect(await shownTo(ports.https, HOST)).toBe(current.fingerprint);
  });

  it('shows the same default certificate after a restart', async () => {
    const before = await shownTo(ports.https, 'nobody.example');
    dev.kill('SIGTERM');
    await dev.ended;
    const lines = [...dev.stdout.all, ...dev.stderr.all];
    await start();
    expect(await shownTo(ports.https, 'nobody.example')).toBe(before);
    for (const key of keys) {
      const [, secret = ''] = key.split('\n');
      expect(secret.length).toBeGreaterThan(40);
      expect(lines.filter((it) => it.includes(secret))).toEqual([]);
    }
  });
});
