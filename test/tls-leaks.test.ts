import { createPrivateKey } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask } from './cluster/ask.ts';
import { LocalCloudflare, syncerSettings } from './publish/support/cloudflare.ts';
import { adminPaths } from './support/admin-paths.ts';
import { Cli, run } from './support/cli.ts';
import { freePort } from './support/free-port.ts';
import { KeyLeaks } from './support/key-leaks.ts';
import { RecordingProxy } from './support/recording-proxy.ts';
import { type SecretManifests, secretManifests } from './support/secret-manifests.ts';
import { StillApiServer } from './support/still-api-server.ts';

// Law 8: private keys never enter KV, D1, a log line or an error; nor metrics, Events or any answer.
// Here with every kind of Secret, good and bad, in the programs as users run them.

const ADMIN_TOKEN = 'a-token-for-the-tests';

let manifests: SecretManifests;
let dir: string;

beforeAll(async () => {
  manifests = await secretManifests(await freePort());
  dir = mkdtempSync(join(tmpdir(), 'causeway-leaks-'));
  mkdirSync(join(dir, 'manifests'));
  const list = { apiVersion: 'v1', kind: 'List', items: manifests.objects };
  writeFileSync(join(dir, 'manifests', 'all.yaml'), JSON.stringify(list));
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** All Secrets about which something has to be told. */
const BAD = ['mismatched', 'abridged', 'garbage', 'expired', 'weak', 'elsewhere', 'swapped'];

test.each([
  ['check', ['check', 'manifests']],
  ['check as JSON', ['check', 'manifests', '--output', 'json']],
  ['explain', ['explain', 'https://bundle.example.com/', '-f', 'manifests', '--output', 'json']],
])('%s prints no private key', async (_, args) => {
  const { stdout, stderr } = await run(args, { cwd: dir });
  expect(stdout).toContain('example.com');
  expect(manifests.leaks.in('stdout', stdout)).toEqual([]);
  expect(manifests.leaks.in('stderr', stderr)).toEqual([]);
});

describe('dev', () => {
  const answers: string[] = [];
  const lines: string[] = [];
  let state: string;

  beforeAll(async () => {
    state = join(dir, 'state');
    const args = ['dev', 'manifests', '--http-port', '0', '--https-port', '0', '--echo'];
    const env = { CAUSEWAY_ADMIN_TOKEN: ADMIN_TOKEN };
    await using cli = Cli.start([...args, '--persist', state], { cwd: dir, env });
    const ready = await cli.stdout.until(/^causeway ready /);
    const [, http, https] = /http=\S+:(\d+) https=\S+:(\d+)/.exec(ready) ?? [];
    for (const host of manifests.hosts) {
      // Also where the certificate is not to be trusted.
      const trust = { ca: manifests.authority };
      const answer = await ask(Number(https), { host, ...trust }).catch((error) => error);
      answers.push(JSON.stringify(answer), String(answer));
    }
    for (const path of adminPaths()) answers.push(await adminAnswer(Number(http), path));
    // What is still in a write-ahead log is there as well as after a stop.
    expect(manifests.leaks.inFolder(state)).toEqual([]);
    cli.kill('SIGTERM');
    expect(await cli.ended).toEqual({ code: 0, signal: null });
    lines.push(...cli.stdout.all, ...cli.stderr.all);
  });

  test('told of each bad Secret, and served the others', () => {
    for (const name of BAD) expect(lines.join('\n')).toContain(`Secret default/${name}`);
    const served = answers.filter((it) => it.includes('"status":200'));
    expect(served.length).toBeGreaterThanOrEqual(3);
  });

  test('says no private key, in its lines, its answers and its admin API', () => {
    expect(manifests.leaks.in('the terminal', lines.join('\n'))).toEqual([]);
    expect(answers.length).toBeGreaterThan(manifests.hosts.length);
    expect(manifests.leaks.in('the answers', answers.join('\n'))).toEqual([]);
  });

  test('keeps no private key of a Secret in its state', () => {
    const looked = manifests.leaks.places.length;
    expect(manifests.leaks.inFolder(state)).toEqual([]);
    const files = manifests.leaks.places.slice(looked);
    expect(files.some((it) => it.startsWith('kv/'))).toBe(true);
    expect(files.some((it) => it.startsWith('d1/'))).toBe(true);
  });

  test('keeps its own two keys in files of their own, for nobody else to read', () => {
    for (const [file, key] of Object.entries(ownKeys(state))) {
      const own = new KeyLeaks({ [file]: key });
      const found = own.inFolder(state).filter((it) => !it.startsWith(`${file}: `));
      expect(found).toEqual([]);
      expect(statSync(join(state, file)).mode & 0o777).toBe(0o600);
      expect(own.in('the terminal', lines.join('\n'))).toEqual([]);
      expect(own.in('the answers', answers.join('\n'))).toEqual([]);
    }
  });
});

async function adminAnswer(port: number, path: string): Promise<string> {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  return (await ask(port, { host: 'admin.localhost', path, headers })).text;
}

/** File to PEM. The search for each must find it in its file, or it has proved nothing. */
function ownKeys(state: string): Readonly<Record<string, string>> {
  const read = (file: string) => readFileSync(join(state, file), 'utf8');
  const [, signingKey = ''] = read('signing-key').trim().split('\n');
  const [d = '', x = ''] = signingKey.split('.');
  const jwk = { kty: 'OKP', crv: 'Ed25519', d, x };
  const signing = createPrivateKey({ key: jwk, format: 'jwk' });
  const fallback = read('default-certificate');
  return {
    'signing-key': signing.export({ format: 'pem', type: 'pkcs8' }).toString(),
    'default-certificate': fallback.slice(fallback.indexOf('-----BEGIN PRIVATE KEY-----')),
  };
}

describe('sync', () => {
  let cloudflare: LocalCloudflare;

  beforeAll(async () => {
    cloudflare = await LocalCloudflare.start();
    const zones = [{ id: 'zone-1', name: 'example.com', plan: 'business', customPacksMax: 100 }];
    const account = { method: 'PUT', body: JSON.stringify({ zones }) };
    await fetch(`${cloudflare.origin}/__account`, account);
  });

  afterAll(() => cloudflare?.stop());

  test('says a private key to nobody, but in the upload of its certificate', async () => {
    const { leaks } = manifests;
    await using server = await StillApiServer.start(manifests.objects);
    await using api = await RecordingProxy.start(cloudflare.origin);
    writeFileSync(join(dir, 'kubeconfig'), server.kubeconfig);
    const upload = 'POST .*/custom_certificates$';
    await cloudflare.inject(
      { match: upload, respond: { kind: 'status', status: 400 } },
      { match: upload, respond: { kind: 'html', status: 502 } },
      { match: upload, respond: { kind: 'drop' } },
    );
    await using cli = Cli.start(['sync'], { cwd: dir, env: settings(api.origin) });
    const started = await cli.stdout.until(/"msg":"started"/);
    const { probePort } = JSON.parse(started) as { probePort: number };
    // Those that fail, and two that do not.
    await api.until((it) => it.isUpload, 5);
    await server.until(['CertificateNotPublished', ...BAD.map((it) => `Secret default/${it}`)]);
    const metrics = await (await fetch(`http://127.0.0.1:${probePort}/metrics`)).text();
    cli.kill('SIGTERM');
    expect(await cli.ended).toEqual({ code: 0, signal: null });

    expect(metrics).toContain('causeway_');
    expect(leaks.in('the metrics', metrics)).toEqual([]);
    const log = [...cli.stdout.all, ...cli.stderr.all].join('\n');
    expect(leaks.in('the log', log)).toEqual([]);
    expect(leaks.in('Events and statuses', server.written.join('\n'))).toEqual([]);
    expect(api.exchanges.flatMap((it) => it.leaked(leaks))).toEqual([]);
    const uploads = api.exchanges.filter((it) => it.isUpload);
    expect(uploads.flatMap((it) => leaks.in('an upload', it.requestBody))).not.toEqual([]);
  });
});

function settings(origin: string): Record<string, string> {
  return {
    KUBECONFIG: join(dir, 'kubeconfig'),
    ...syncerSettings(origin),
    CAUSEWAY_CERTIFICATES: 'custom',
    // With which Cloudflare's library prints the bodies of its requests.
    CLOUDFLARE_LOG: 'debug',
    CAUSEWAY_WATCH_INGRESS_WITHOUT_CLASS: 'true',
    CAUSEWAY_LEADER_ELECTION: 'false',
    CAUSEWAY_PROBE_HOST: '127.0.0.1',
    CAUSEWAY_PROBE_PORT: '0',
    POD_NAME: 'it',
  };
}
