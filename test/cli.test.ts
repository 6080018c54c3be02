import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from './support/cli.ts';
import { ExampleCopy } from './support/example-copy.ts';

describe('causeway', () => {
  let copy: ExampleCopy;
  let cwd: string;

  beforeAll(async () => {
    copy = await ExampleCopy.make();
    ({ cwd } = copy);
    writeFileSync(join(cwd, 'good.yaml'), GOOD);
    writeFileSync(join(cwd, 'broken.yaml'), 'kind: Ingress\n  name: x: y\n');
  });

  afterAll(() => copy?.[Symbol.dispose]());

  describe('check', () => {
    it('prints routes and problems, and exits with 0 without errors', async () => {
      const { code, stdout, stderr } = await run(['check', 'good.yaml'], { cwd });
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toMatch(/^ROUTES\nHOST +PATH +SERVICE +ENDPOINTS +ASKED FOR BY\n/);
      expect(stdout).toMatch(
        /^good\.example +Prefix \/ +default\/web\/80 +198\.51\.100\.9:30000 +Ingress default\/web$/m,
      );
      expect(stdout).toMatch(/^PROBLEMS {2}0 errors, \d+ warnings?, 0 notes$/m);
    });

    it('exits with 1 on errors, names them, and routes the rest', async () => {
      const { code, stdout, stderr } = await run(['check', copy.path], { cwd });
      expect([code, stderr]).toEqual([1, '']);
      expect(stdout).toMatch(/^error +RouteConflict +Ingress default\/rival-ingress$/m);
      expect(stdout).toMatch(/^example\.com +Prefix \/a +default\/service1\/8080/m);
      expect(stdout).toMatch(/^\* +\(default\) +default\/test\/8080/m);
      expect(stdout).toMatch(
        /^example\.com +ecdsa +Secret default\/tls-secret-name +\d{4}-\d\d-\d\d$/m,
      );
    });

    it('prints the same as JSON', async () => {
      const { code, stdout } = await run(['check', copy.path, '--output', 'json'], { cwd });
      expect(code).toBe(1);
      const { virtualHosts, upstreams, certificates, problems } = JSON.parse(stdout);
      const secret = { kind: 'Secret', namespace: 'default', name: 'tls-secret-name' };
      expect(certificates).toMatchObject([{ hostname: 'example.com', served: [{ secret }] }]);
      expect(stdout).not.toContain('PRIVATE KEY');
      const hosts = virtualHosts.map((host: { hostname: string }) => host.hostname);
      expect(hosts).toContain('*.preview.example.com');
      expect(upstreams).toContainEqual(expect.objectContaining({ name: 'default/test/8080' }));
      expect(problems).toContainEqual(
        expect.objectContaining({
          severity: 'error',
          reason: 'RouteConflict',
          object: { kind: 'Ingress', namespace: 'default', name: 'rival-ingress' },
        }),
      );
    });

    it('is not misled by the order of its paths', async () => {
      const folders = ['simple-ingress', 'path-ingress', 'host-ingress'].map((it) => copy.file(it));
      const one = await run(['check', ...folders], { cwd });
      const two = await run(['check', ...folders.reverse()], { cwd });
      expect(two).toEqual(one);
    });

    it.each([
      [
        'a missing file',
        ['check', 'nowhere.yaml'],
        'causeway: nowhere.yaml: no such file or folder',
      ],
      ['broken YAML', ['check', 'broken.yaml'], /^causeway: broken\.yaml:1: /],
    ])('says in one line what is wrong with %s', async (_, args, line) => {
      const { code, stdout, stderr } = await run(args, { cwd });
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(line);
      expect(stderr.split('\n')).toHaveLength(1);
    });

    it('wants a path', async () => {
      const { code, stderr } = await run(['check'], { cwd });
      expect(code).toBe(1);
      expect(stderr).toMatch(/missing required argument 'path'/);
    });
  });

  describe('explain', () => {
    const explain = (url: string, ...more: readonly string[]) =>
      run(['explain', url, '-f', copy.path, ...more], { cwd });

    it('says which route serves a URL, and why not the others', async () => {
      const { code, stdout } = await explain('https://example.com/a/x?q=1');
      expect(code).toBe(0);
      const [url, verdict] = stdout.split('\n');
      expect(url).toBe('https://example.com/a/x?q=1');
      expect(verdict).toMatch(
        /^ {2}served by default\/service1\/8080, asked for by Ingress default\/path-ingress, at /,
      );
      expect(stdout).toMatch(/Ingress default\/rival-ingress .*: Prefix \/a of example\.com/);
    });

    it.each([
      ['https://EXAMPLE.com.:8443/b/', /served by default\/service2\/8080/],
      ['http://unknown.example/', /served by default\/test\/8080/],
      ['https://example.com/x/../a', /served by default\/service1\/8080/],
      [
        'http://example.com/a',
        /308: sent to https, which is served by default\/service1\/8080, asked for by Ingress default\/path-ingress/,
      ],
      ['http://example.com/.well-known/acme-challenge/x', /^ {2}served by default\/test\/8080/m],
      ['http://x.preview.example.com/', /served by default\/previews\/80/],
    ])('of %s says so', async (url, verdict) => {
      const { code, stdout } = await explain(url);
      expect([code, stdout]).toEqual([0, expect.stringMatching(verdict)]);
    });

    it('says 404 where no host and no catch-all is, and where no path matches', async () => {
      const files = ['-f', 'good.yaml'];
      const host = await run(['explain', 'https://unknown.example/', ...files], { cwd });
      expect(host.stdout).toMatch(/404: no Ingress names the host unknown\.example/);
      const path = await run(['explain', 'https://paths.example/no', ...files], { cwd });
      expect(path.stdout).toMatch(/404: host paths\.example exists, and none of its paths matches/);
    });

    it('is JSON for those who ask', async () => {
      const { stdout } = await explain('https://example.com/a', '--output', 'json');
      expect(JSON.parse(stdout)).toMatchObject({
        url: 'https://example.com/a',
        status: 200,
        winner: { upstream: 'default/service1/8080' },
      });
    });

    it.each(['example.com/a', 'ftp://example.com/'])('refuses %j', async (url) => {
      const { code, stdout, stderr } = await explain(url);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(/^causeway: ".*" is not a URL such as/);
    });
  });

  it('keygen prints a pair for the syncer and the worker', async () => {
    const { code, stdout } = await run(['keygen'], { cwd });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^CAUSEWAY_SIGNING_KEY=[\w-]{43}\.[\w-]{43}\nMANIFEST_PUBLIC_KEY=[\w-]{43}$/,
    );
  });

  describe('sync', () => {
    const REQUIRED = [
      'CLOUDFLARE_API_TOKEN',
      'CLOUDFLARE_ACCOUNT_ID',
      'CAUSEWAY_KV_NAMESPACE_ID',
      'CAUSEWAY_D1_DATABASE_ID',
    ];

    it('names all that is missing at once, in one line', async () => {
      const { code, stdout, stderr } = await run(['sync'], { cwd });
      expect([code, stdout]).toEqual([1, '']);
      for (const name of REQUIRED) expect(stderr).toContain(`${name} is not set`);
      expect(stderr.split('\n')).toHaveLength(1);
    });

    it('names what is wrong along with what is missing, and no secret', async () => {
      const env = {
        CLOUDFLARE_API_TOKEN: 'the-secret-token',
        CAUSEWAY_DIALER: 'carrier-pigeon',
        CAUSEWAY_DISABLE_CATCH_ALL: 'maybe',
        CAUSEWAY_DEFAULT_BACKEND_SERVICE: 'no-namespace',
      };
      const { code, stderr } = await run(['sync'], { cwd, env });
      expect(code).toBe(1);
      expect(stderr).not.toContain('CLOUDFLARE_API_TOKEN');
      expect(stderr).not.toContain('the-secret-token');
      for (const name of [...REQUIRED.slice(1), ...Object.keys(env).slice(1)]) {
        expect(stderr).toContain(name);
      }
    });

    it('says which kubeconfig it cannot use', async () => {
      const settings = Object.fromEntries(REQUIRED.map((name) => [name, 'x']));
      const kubeconfig = join(cwd, 'no-such-kubeconfig');
      const env = { ...settings, KUBECONFIG: kubeconfig, CAUSEWAY_LEASE_NAMESPACE: 'x' };
      const { code, stderr } = await run(['sync'], { cwd, env });
      expect(code).toBe(1);
      expect(stderr).toContain('no-such-kubeconfig');
      expect(stderr.split('\n')).toHaveLength(1);
    });
  });

  it('without a command shows the commands, and knows no others', async () => {
    expect((await run([], { cwd })).stderr).toMatch(/Usage: causeway/);
    const { code, stderr } = await run(['serve'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/unknown command 'serve'/);
  });
});

const GOOD = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web }
spec:
  ingressClassName: causeway
  rules:
    - host: good.example
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }
    - host: paths.example
      http:
        paths:
          - { path: /yes, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ port: 80, nodePort: 30000 }]
---
apiVersion: v1
kind: Node
metadata: { name: one }
status:
  addresses: [{ type: ExternalIP, address: 198.51.100.9 }]
  conditions: [{ type: Ready, status: 'True' }]
`;
