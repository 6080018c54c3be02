import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cli, run } from './support/cli.ts';
import { ExampleCopy } from './support/example-copy.ts';
import { freePort } from './support/free-port.ts';
import { readHead } from './support/message.ts';
import { headText, send } from './support/rig.ts';
import { Wire } from './support/wire.ts';

describe('a run of causeway dev', () => {
  let copy: ExampleCopy;
  const started: Cli[] = [];

  beforeAll(async () => {
    copy = await ExampleCopy.make();
  });

  afterEach(async () => {
    for (const cli of started.splice(0)) await cli[Symbol.asyncDispose]();
  });

  afterAll(() => copy?.[Symbol.dispose]());

  const args = (...more: readonly string[]) => {
    return ['dev', copy.path, '--http-port', '0', '--https-port', '0', ...more];
  };

  async function start(persist: string, ...more: readonly string[]) {
    const cli = Cli.start(args('--persist', persist, ...more), { cwd: copy.cwd });
    started.push(cli);
    const line = await cli.stdout.until(/^causeway ready /);
    const [, port, version] = /:(\d+) .*version=(\w+)/.exec(line) ?? [];
    return { cli, port: Number(port), version };
  }

  describe('after another on the same state', () => {
    const key = () => readFileSync(join(copy.cwd, 'state', 'signing-key'), 'utf8');
    let first: { readonly version: string | undefined; readonly key: string };

    it('ends at SIGTERM, with all that it started', async () => {
      const { cli, port, version } = await start('state', '--echo');
      first = { version, key: key() };
      // A connection that stays open must not keep it.
      const idle = await Wire.dial(port);
      idle.write(headText({ headers: ['Connection: keep-alive'] }));
      await readHead(idle);
      expect(cli.running().length).toBeGreaterThan(1);
      cli.kill('SIGTERM');
      expect(await cli.ended).toEqual({ code: 0, signal: null });
      expect(await cli.leftBehind()).toEqual([]);
      idle.destroy();
    });

    it('serves the same version, also if it is killed itself', async () => {
      const { cli, version } = await start('state');
      expect({ version, key: key() }).toEqual(first);
      expect(statSync(join(copy.cwd, 'state', 'signing-key')).mode & 0o077).toBe(0);
      await cli[Symbol.asyncDispose]();
    });

    it('publishes on, and ends at Ctrl-C, which its children get as well', async () => {
      const { cli, port, version } = await start('state');
      expect({ version, key: key() }).toEqual(first);
      writeFileSync(copy.file('zz.yaml'), HOST);
      await cli.stdout.until(/^causeway reloaded /);
      expect((await send(port, { host: 'zz.example' })).status).toBe(503);
      cli.interrupt();
      expect((await cli.ended).signal).toBeNull();
      expect(await cli.leftBehind()).toEqual([]);
    });
  });

  it('ends in order at a signal that comes with its first answer', async () => {
    const port = await freePort();
    const ports = ['--http-port', String(port), '--https-port', '0'];
    const all = ['dev', copy.path, ...ports, '--persist', 'first'];
    await using cli = Cli.start(all, { cwd: copy.cwd });
    let wire: Wire | null = null;
    while (!wire) wire = await Wire.dial(port).catch(() => null);
    // Waits until there is somebody to answer.
    wire.write(headText({}));
    await readHead(wire);
    cli.kill('SIGTERM');
    expect(await cli.ended).toEqual({ code: 0, signal: null });
    expect(await cli.leftBehind()).toEqual([]);
    wire.destroy();
  });

  it('ends at a signal that comes while it starts', async () => {
    await using cli = Cli.start(args('--persist', 'early'), { cwd: copy.cwd });
    // Its first sign of life: the folder that it makes for its state.
    while (!existsSync(join(copy.cwd, 'early', 'signing-key'))) await new Promise(setImmediate);
    cli.kill('SIGTERM');
    await cli.ended;
    expect(await cli.leftBehind()).toEqual([]);
  });

  describe('fails with one clear line and leaves nothing running', () => {
    async function failure(more: readonly string[]): Promise<string> {
      await using cli = Cli.start(['dev', ...more], { cwd: copy.cwd });
      expect(await cli.ended).toEqual({ code: 1, signal: null });
      expect(await cli.leftBehind()).toEqual([]);
      expect(cli.stdout.all).toEqual([]);
      expect(cli.stderr.all).toHaveLength(1);
      return cli.stderr.all[0] ?? '';
    }

    it.each([
      ['--http-port', '--https-port'],
      ['--https-port', '--http-port'],
    ])('when its %s is taken, before it starts anything', async (taken, free) => {
      const other = createServer().listen(0, '127.0.0.1');
      await once(other, 'listening');
      const { port } = other.address() as AddressInfo;
      const ports = [taken, String(port), free, '0'];
      const line = await failure([copy.path, ...ports, '--persist', 'taken']);
      expect(line).toMatch(new RegExp(`^causeway: port ${port} .*in use.* with ${taken}$`));
      expect(existsSync(join(copy.cwd, 'taken', 'kv'))).toBe(false);
      other.close();
    });

    it('when a file is missing', async () => {
      const more = ['no-such-file.yaml', '--persist', 'missing'];
      expect(await failure(more)).toBe('causeway: no-such-file.yaml: no such file or folder');
    });

    it('when a file is not YAML', async () => {
      mkdirSync(join(copy.cwd, 'broken'), { recursive: true });
      writeFileSync(join(copy.cwd, 'broken', 'x.yaml'), 'a: b: c\n');
      const more = ['broken', '--persist', 'broken-state'];
      expect(await failure(more)).toMatch(/^causeway: broken\/x\.yaml:1: /);
    });

    it('without any path', async () => {
      expect(await failure([])).toMatch(/^causeway: give manifest files or folders/);
    });

    it('when its state is a file', async () => {
      writeFileSync(join(copy.cwd, 'a-file'), '');
      expect(await failure([copy.path, '--persist', 'a-file'])).toMatch(/^causeway: .*a-file/);
    });

    it('when its signing key is damaged', async () => {
      mkdirSync(join(copy.cwd, 'damaged'), { recursive: true });
      writeFileSync(join(copy.cwd, 'damaged', 'signing-key'), 'x\ny\n');
      expect(await failure([copy.path, '--persist', 'damaged'])).toMatch(/^causeway: .*key/);
    });
  });

  it('says which option it does not understand', async () => {
    for (const wrong of [['--http-port', 'x'], ['--https-port', '70000'], ['--no-such-option']]) {
      const { code, stdout, stderr } = await run(args(...wrong), { cwd: copy.cwd });
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toContain(wrong[0]);
    }
  });
});

/** A host of its own with nobody behind it. */
const HOST = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: zz }
spec:
  rules:
    - host: zz.example
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: nobody, port: { number: 1 } } } }
`;
