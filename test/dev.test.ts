import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './support/cli.ts';
import { ExampleCopy } from './support/example-copy.ts';
import { send } from './support/rig.ts';
import { sendTls } from './support/tls-client.ts';

const READY =
  /^causeway ready http=http:\/\/127\.0\.0\.1:(\d+) https=https:\/\/127\.0\.0\.1:(\d+) version=([0-9a-f]{12}) routes=(\d+) problems=(\d+)$/;
const RELOADED = /^causeway reloaded version=([0-9a-f]{12}) routes=(\d+) problems=(\d+)$/;

function startDev(copy: ExampleCopy, ...args: readonly string[]): Cli {
  const own = ['--http-port', '0', '--https-port', '0', '--persist', join(copy.cwd, 'state')];
  return Cli.start(['dev', copy.path, ...own, ...args], { cwd: copy.cwd });
}

async function ready(dev: Cli) {
  const [, port, httpsPort, version, routes, problems] =
    READY.exec(await dev.stdout.until(/^causeway /)) ?? [];
  const ports = { port: Number(port), httpsPort: Number(httpsPort) };
  return { ...ports, version, routes: Number(routes), problems: Number(problems) };
}

interface Summary {
  readonly version: string | undefined;
  readonly routes: number;
  readonly problems: number;
}

/**
 * The first reload of which this holds. One change may be several to the file system, and so several
 * reloads; but a reload that comes too early, before it is served, has no other after it.
 */
async function reloaded(
  dev: Cli,
  holds: (summary: Summary) => boolean | Promise<boolean> = () => true,
): Promise<Summary> {
  for (;;) {
    const line = await dev.stdout.until(/^causeway /);
    const [, version, routes, problems] = RELOADED.exec(line) ?? [];
    const summary = { version, routes: Number(routes), problems: Number(problems) };
    if (await holds(summary)) return summary;
  }
}

describe('causeway dev on a copy of the examples', () => {
  let copy: ExampleCopy;
  let dev: Cli;
  let port: number;
  let first: Awaited<ReturnType<typeof ready>>;

  beforeAll(async () => {
    copy = await ExampleCopy.make();
    dev = startDev(copy, '--echo');
    first = await ready(dev);
    ({ port } = first);
  });

  afterAll(async () => {
    await dev?.[Symbol.asyncDispose]();
    copy?.[Symbol.dispose]();
  });

  /** `default/test` or the status. */
  async function ask(host: string, target = '/'): Promise<string | number> {
    // The one host of the examples that is under `spec.tls`.
    const isTls = host === 'example.com';
    const request = { host, target };
    const { status, body } = await (isTls
      ? sendTls(first.httpsPort, request)
      : send(port, request));
    if (status !== 200) return status;
    const { namespace, service } = JSON.parse(String(body));
    return `${namespace}/${service}`;
  }

  /** The reload after which the host is served by this. */
  function reloadServes(host: string, expected: string | number, target = '/'): Promise<Summary> {
    return reloaded(dev, async () => (await ask(host, target)) === expected);
  }

  const ingress = (name: string, host: string, service = 'service1') => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: ${name} }
spec:
  rules:
    - host: ${host}
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: ${service}, port: { number: 8080 } } } }
`;

  it('says in one line that it is ready, before anything else', () => {
    expect(dev.stdout.all[0]).toMatch(READY);
    expect(first.routes).toBeGreaterThan(10);
    expect(first.problems).toBeGreaterThan(0);
  });

  it('serves the examples then', async () => {
    expect(await ask('anything.example')).toBe('default/test');
    expect(await ask('example.com', '/a/x')).toBe('default/service1');
    expect(await ask('example.com', '/b')).toBe('default/service2');
    expect(await ask('example.com', '/rival')).toBe('default/service2');
    expect(await ask('main.preview.example.com')).toBe('default/main-preview');
    expect(await ask('other.preview.example.com')).toBe('default/previews');
    expect(await ask('a.b.preview.example.com')).toBe('default/test');
    expect(await ask('legacy.example.com')).toBe('default/legacy');
    expect(await ask('partner.example.com')).toBe('default/partner');
  });

  it('echoes what the application would get', async () => {
    const headers = ['X-One: 1', 'Content-Length: 2'];
    const request = { method: 'POST', host: 'example.com', target: '/a?q', headers, body: 'hi' };
    expect(JSON.parse(String((await sendTls(first.httpsPort, request)).body))).toMatchObject({
      namespace: 'default',
      service: 'service1',
      port: 8080,
      method: 'POST',
      path: '/a?q',
      headers: { host: 'example.com', 'x-one': '1', 'x-forwarded-for': '127.0.0.1' },
    });
  });

  it('prints an admin URL and token that work', async () => {
    const line = await dev.stdout.until(/Authorization/);
    const [, header = '', host = '', target] =
      /-H '([^']+)' http:\/\/([^/]+)(\/\S+)$/.exec(line) ?? [];
    expect(host).toMatch(new RegExp(`:${port}$`));
    const response = await send(port, { host, headers: [header], ...(target && { target }) });
    const { version } = JSON.parse(String(response.body));
    expect(version.slice(0, 12)).toBe(first.version);
  });

  it('serves a new file by the time it says reloaded', async () => {
    expect(await ask('new.example')).toBe('default/test');
    writeFileSync(copy.file('new.yaml'), ingress('new', 'new.example'));
    const { version, routes } = await reloadServes('new.example', 'default/service1');
    expect(routes).toBe(first.routes + 1);
    expect(version).not.toBe(first.version);
  });

  it('serves an edit in place, and one by an editor that replaces the file', async () => {
    writeFileSync(copy.file('new.yaml'), ingress('new', 'edited.example'));
    await reloadServes('edited.example', 'default/service1');
    for (const host of ['replaced.example', 'replaced-again.example']) {
      writeFileSync(copy.file('.new.yaml.swp'), ingress('new', host, 'service2'));
      renameSync(copy.file('.new.yaml.swp'), copy.file('new.yaml'));
      await reloadServes(host, 'default/service2');
    }
    expect(await ask('edited.example')).toBe('default/test');
  });

  it('ends up with the last of many quick edits', async () => {
    for (let n = 1; n <= 30; n++) {
      if (n % 3 === 0) rmSync(copy.file('new.yaml'));
      writeFileSync(copy.file('new.yaml'), ingress('new', `edit-${n}.example`));
      await new Promise(setImmediate);
    }
    await reloadServes('edit-30.example', 'default/service1');
    expect(await ask('edit-29.example')).toBe('default/test');
    writeFileSync(copy.file('new.yaml'), ingress('new', 'replaced-again.example', 'service2'));
    await reloadServes('replaced-again.example', 'default/service2');
  });

  it('serves a file in a new folder, and no longer once it is gone', async () => {
    mkdirSync(copy.file('folder', 'deeper'), { recursive: true });
    await reloaded(dev);
    writeFileSync(copy.file('folder', 'deeper', 'x.yml'), ingress('deep', 'deep.example'));
    await reloadServes('deep.example', 'default/service1');
    rmSync(copy.file('folder'), { recursive: true });
    await reloadServes('deep.example', 'default/test');
  });

  it('serves an edit of what a link leads to', async () => {
    const file = copy.file('path-ingress', 'ingress.yaml');
    const before = readFileSync(file, 'utf8');
    writeFileSync(file, before.replace('path: /b/', 'path: /c/'));
    await reloadServes('example.com', 'default/service2', '/c');
    writeFileSync(file, before);
    await reloadServes('example.com', 'default/service2', '/b');
  });

  it('says reloaded, with the same version, for a file that was touched', async () => {
    const file = copy.file('new.yaml');
    const { version } = await current();
    for (const seconds of [60, 30]) {
      utimesSync(file, new Date(), new Date(Date.now() - seconds * 1000));
      expect((await reloaded(dev)).version).toBe(version);
    }
  });

  it('reports broken YAML with file and line, serves on, and recovers', async () => {
    const file = copy.file('new.yaml');
    const good = readFileSync(file, 'utf8');
    const { problems } = await current();
    appendFileSync(file, 'this: is: not\n  yaml: [\n');
    await reloaded(dev, (it) => it.problems === problems + 1);
    const line = await dev.stderr.until(/new\.yaml/);
    expect(line).toMatch(/^error InvalidObject .*new\.yaml:\d+: .*last good content/);
    expect(await ask('replaced-again.example')).toBe('default/service2');
    // A change elsewhere is served all the same.
    writeFileSync(copy.file('other.yaml'), ingress('other', 'other.example'));
    const other = await reloadServes('other.example', 'default/service1');
    expect(other.problems).toBe(problems + 1);
    expect(await ask('replaced-again.example')).toBe('default/service2');
    writeFileSync(file, good.replace('replaced-again', 'mended'));
    expect((await reloadServes('mended.example', 'default/service2')).problems).toBe(problems);
    expect(await dev.stderr.until(/mended/)).toMatch(/^mended InvalidObject .*new\.yaml/);
    expect(await ask('replaced-again.example')).toBe('default/test');
  });

  it('reports an object that is none, and one that names no Service', async () => {
    const file = copy.file('other.yaml');
    writeFileSync(file, ingress('other', 'other.example', 'no-such-service'));
    await reloadServes('other.example', 503);
    const missing = await dev.stderr.until(/no-such-service/);
    expect(missing).toMatch(/^error ServiceNotFound Ingress default\/other/);
    const { problems } = await current();
    writeFileSync(file, ingress('other', 'other.example').replace('Prefix', 'Suffix'));
    const invalid = await dev.stderr.until(/InvalidObject Ingress/);
    expect(invalid).toMatch(/Ingress default\/other: .*pathType.*its last good form serves on/);
    expect(await ask('other.example')).toBe(503);
    rmSync(file);
    expect((await reloadServes('other.example', 'default/test')).problems).toBeLessThan(problems);
  });

  /** What a reload of no change says. */
  async function current(): Promise<Summary> {
    const count = dev.stdout.all.length;
    utimesSync(copy.file('ingress-class.yaml'), new Date(), new Date(count * 1000));
    return reloaded(dev, () => dev.stdout.all.length > count);
  }

  it('said no more on standard output than it should', () => {
    const unexpected = dev.stdout.all.filter(
      (line) => !/^(causeway (ready|reloaded) |Try:$| {2}curl )/.test(line),
    );
    expect(unexpected).toEqual([]);
  });
});
