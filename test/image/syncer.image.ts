/**
 * The Dockerfile's steps, taken one by one in a folder: there is no container engine where this runs.
 * What they make has to start as somebody who owns nothing, without a package for development.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build, type Stage } from './dockerfile.ts';

let folder: string;
let image: Stage;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'causeway-image-'));
  const run = (command: string, directory: string) => {
    const [program = '', ...args] = command.split(' ');
    // Nothing else may run on the machine of whoever tests.
    if (program !== 'npm') throw new Error(`RUN ${command} is not understood here`);
    // The registry's own address is not a matter of the image.
    cpSync('.npmrc', join(directory, '.npmrc'));
    execFileSync(program, args, { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'] });
  };
  image = build({ dockerfile: 'Dockerfile', context: '.', into: folder, run });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the base image is of the Node that the tests run on, by its full version', () => {
  const { devDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(image.base).toBe(`node:${devDependencies.node}-bookworm-slim`);
  expect(process.versions.node).toBe(devDependencies.node);
});

test('nobody is root, by number', () => {
  expect(image.user).toBe('65532:65532');
});

test('it holds no tool for development and nothing of the edge', () => {
  const app = join(image.root, 'app');
  // Others that are installed for development are dependencies of a dependency as well.
  const tools = ['@biomejs', 'drizzle-kit', 'esbuild', 'miniflare', 'node', 'vitest', 'workerd'];
  const present = [...tools, 'wrangler'].filter((it) => existsSync(join(app, 'node_modules', it)));
  expect(present).toEqual([]);
  expect(existsSync(join(app, 'worker'))).toBe(false);
});

test('it starts, and names every setting that is missing', () => {
  const { status, stderr } = start(image.command);
  expect(status).toBe(1);
  for (const name of [
    'CLOUDFLARE_API_TOKEN',
    'CAUSEWAY_KV_NAMESPACE_ID',
    'CAUSEWAY_LEASE_NAMESPACE',
  ]) {
    expect(stderr).toContain(`${name} is not set`);
  }
});

test('with all settings it needs nothing more than a cluster', () => {
  const { status, stderr } = start(image.command, {
    CLOUDFLARE_API_TOKEN: 'token',
    CLOUDFLARE_ACCOUNT_ID: 'account',
    CAUSEWAY_KV_NAMESPACE_ID: 'namespace',
    CAUSEWAY_D1_DATABASE_ID: 'database',
    CAUSEWAY_LEASE_NAMESPACE: 'causeway-system',
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^causeway: not inside a cluster/);
});

test('it also checks manifests, for pipelines that have only the image', () => {
  const { status, stdout } = start(['check', join(process.cwd(), 'examples', 'overlap')]);
  expect(status).toBe(1);
  expect(stdout).toContain('RouteConflict');
});

/** As a container would, but for the file system's root. */
function start(command: readonly string[], env: Record<string, string> = {}) {
  const [, program = ''] = image.entrypoint;
  const argv = [process.execPath, join(image.root, program), ...command];
  const options = { encoding: 'utf8', env: { ...image.env, ...env } } as const;
  if (process.getuid?.() !== 0) return spawnSync(argv[0] ?? '', argv.slice(1), options);
  const [uid = '', gid = ''] = image.user.split(':');
  // Who owns nothing has to be let in.
  execFileSync('chmod', ['-R', 'a+rX', folder]);
  const drop = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
  return spawnSync('/usr/bin/setpriv', [...drop, ...argv], options);
}
