import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { LocalCloudflare, syncerSettings } from '../publish/support/cloudflare.ts';
import { EmptyApiServer } from './support/api-server.ts';

/** `causeway sync` as processes, with an API server of an empty cluster and Cloudflare's local API. */

let cf: LocalCloudflare;
let server: EmptyApiServer;
let directory: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(async () => {
  await cf.reset();
  server = await EmptyApiServer.start();
  directory = await mkdtemp(join(tmpdir(), 'causeway-sync-'));
  await writeFile(join(directory, 'kubeconfig'), server.kubeconfig);
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await server.close();
  await rm(directory, { recursive: true });
});

interface Line {
  readonly msg: string;
  readonly probePort?: number;
  readonly [field: string]: unknown;
}

class Syncer {
  readonly lines: Line[] = [];
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  #wake: () => void = () => {};

  constructor(name: string, env: Record<string, string> = {}) {
    const program = fileURLToPath(new URL('../../bin/causeway.mjs', import.meta.url));
    this.#child = spawn(process.execPath, [program, 'sync'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        PATH: process.env.PATH ?? '',
        KUBECONFIG: join(directory, 'kubeconfig'),
        ...syncerSettings(cf.origin),
        CAUSEWAY_CLUSTER: 'test',
        CAUSEWAY_LEASE_NAMESPACE: 'causeway',
        CAUSEWAY_PROBE_HOST: '127.0.0.1',
        CAUSEWAY_PROBE_PORT: '0',
        POD_NAME: name,
        ...env,
      },
    });
    children.add(this.#child);
    this.exited = new Promise((resolve) => this.#child.once('exit', resolve));
    if (!this.#child.stdout) throw new Error('no stdout');
    createInterface(this.#child.stdout).on('line', (line) => {
      this.lines.push(JSON.parse(line));
      this.#wake();
    });
  }

  async says(message: RegExp): Promise<Line> {
    for (;;) {
      const line = this.lines.find(({ msg }) => message.test(msg));
      if (line) return line;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async get(path: string): Promise<{ status: number; body: string }> {
    const { probePort } = await this.says(/^started/);
    const answer = await fetch(`http://127.0.0.1:${probePort}${path}`);
    return { status: answer.status, body: await answer.text() };
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** Processes on a busy machine take their time; nothing here asserts how long. */
const PATIENCE = { timeout: 25_000, interval: 100 };

const holder = () => server.leases.get('causeway-test')?.spec.holderIdentity;

test('one leads, the other waits ready; a clean exit hands over, with a higher token', async () => {
  const first = new Syncer('pod-a');
  await first.says(/^leading/);
  await first.says(/^published/);
  const second = new Syncer('pod-b');
  await second.says(/^started/);
  expect(holder()).toMatch(/^pod-a_/);
  expect(await first.get('/healthz')).toEqual({ status: 200, body: 'ok\n' });
  await expect.poll(() => second.get('/readyz'), PATIENCE).toEqual({ status: 200, body: 'ok\n' });
  expect((await first.get('/metrics')).body).toMatch(/^causeway_leader 1$/m);
  expect((await second.get('/metrics')).body).toMatch(/^causeway_leader 0$/m);

  first.kill('SIGTERM');
  expect(await first.exited).toBe(0);
  expect(first.lines.at(-1)?.reason).toBe('this process ends');
  await second.says(/^leading: the Lease was free/);
  expect(holder()).toMatch(/^pod-b_/);
  const tokenIs = 'SELECT fencing_token FROM pointers';
  await expect.poll(() => cf.rows(tokenIs), PATIENCE).toEqual([{ fencing_token: 2 }]);
  second.kill('SIGTERM');
  expect(await second.exited).toBe(0);
  expect(holder()).toBe('');
});

test('a first Lease begins above the token that D1 has', async () => {
  const before = cf.publisher();
  await before.claim(41);
  const syncer = new Syncer('pod-a');
  await syncer.says(/^published/);
  expect(server.leases.get('causeway-test')?.spec.leaseTransitions).toBe(42);
  expect(await cf.rows('SELECT fencing_token FROM pointers')).toEqual([{ fencing_token: 42 }]);
});

test('asked to end in the middle of a publication, it ends that first', async () => {
  await cf.inject({ match: '/bulk$', respond: { kind: 'status', status: 503 } });
  const syncer = new Syncer('pod-a');
  await syncer.says(/^leading/);
  await expect.poll(() => cf.calls(), PATIENCE).toContain('PUT bulk');
  syncer.kill('SIGTERM');
  expect(await syncer.exited).toBe(0);
  expect(syncer.lines.some(({ msg }) => msg === 'published')).toBe(true);
  expect(holder()).toBe('');
});

test('asked to end in one that takes too long, it abandons that and gives the Lease away', async () => {
  const respond = { kind: 'status', status: 429, retryAfter: '600' } as const;
  await cf.inject({ match: '/bulk$', respond });
  const syncer = new Syncer('pod-a');
  await syncer.says(/^leading/);
  await expect.poll(() => cf.calls(), PATIENCE).toContain('PUT bulk');
  syncer.kill('SIGTERM');
  expect(await syncer.exited).toBe(0);
  expect((await syncer.says(/^publication abandoned/)).reason).toBe('this process ends');
  expect(holder()).toBe('');
  expect(await cf.rows('SELECT version FROM pointers')).toEqual([{ version: '' }]);
});

test('without leave for the Lease it says so, is not ready and publishes nothing', async () => {
  server.refuseLeasesWith = 403;
  const syncer = new Syncer('pod-a');
  await syncer.says(/may not use the Lease: allow get, create and update on leases/);
  await expect
    .poll(() => syncer.get('/readyz'), PATIENCE)
    .toEqual({
      status: 503,
      body: 'the Lease of the leader could not be read yet (see the log)\n',
    });
  expect(await cf.rows('SELECT * FROM pointers')).toEqual([]);
  server.refuseLeasesWith = null;
  await syncer.says(/^published/);
  expect((await syncer.get('/readyz')).status).toBe(200);
});

test('a token that Cloudflare refuses ends it at once, and a Cloudflare that is away does not', async () => {
  const refused = new Syncer('pod-a', { CLOUDFLARE_API_TOKEN: 'another' });
  expect(await refused.exited).toBe(1);
  await cf.inject({ match: '/raw$', times: 5, respond: { kind: 'status', status: 503 } });
  const patient = new Syncer('pod-b');
  await patient.says(/^Cloudflare cannot be reached yet/);
  await patient.says(/^published/);
});

test('without an election it publishes at once and touches no Lease', async () => {
  const syncer = new Syncer('pod-a', { CAUSEWAY_LEADER_ELECTION: 'false' });
  await syncer.says(/^published/);
  expect((await syncer.get('/readyz')).status).toBe(200);
  expect((await syncer.get('/metrics')).body).toMatch(/^causeway_leader 1$/m);
  syncer.kill('SIGTERM');
  expect(await syncer.exited).toBe(0);
  expect(server.writes).toEqual([]);
});
