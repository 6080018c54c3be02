import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

/** What the upstream saw when a request with this target came, or the status it was refused with. */
type Ask = (target: string, request?: RawRequest) => Promise<string | number>;

describe('the path and query of a request', () => {
  let rig: Rig;
  let root: Upstream;
  let foo: Upstream;
  let exact: Upstream;

  beforeAll(async () => {
    [root, foo, exact] = await Promise.all([named('root'), named('foo'), named('exact')]);
    rig = await startRig();
    await rig.publish(
      snapshotOf({
        'a.example': { '/': root.port, '/foo': foo.port, '=/foo/exact': exact.port },
        'one.example': { '/foo': foo.port },
      }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    for (const each of [root, foo, exact]) await each?.[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    for (const each of [root, foo, exact]) each.clear();
  });

  /** `foo /foo/bar` or a status of ours. */
  async function ask(port: number, request: RawRequest): Promise<string | number> {
    const response = await send(port, request);
    if (response.status !== 200) return response.status;
    const name = response.body.toString();
    const upstream = { root, foo, exact }[name];
    return `${name} ${upstream?.request.target}`;
  }

  const ways: readonly (readonly [string, () => Ask])[] = [
    ['through the front', () => (target, request) => ask(rig.front.port, { ...request, target })],
    [
      'by the absolute form to the worker',
      () => (target, request) =>
        ask(rig.edge.worker.port, { ...request, target: `http://a.example${target}` }),
    ],
  ];

  describe.each(ways)('%s', (_, way) => {
    it.each([
      '/',
      '//',
      '//a.other/b',
      '/a//b',
      '/a/b/',
      '/a/b//',
      '/A%2fb',
      '/a%2Fb',
      '/%2f%2f',
      '/a%5Cb',
      '/a%00b',
      '/%zz',
      '/%',
      '/a%2',
      '/%C3%A9',
      '/%e9',
      '/%7Eu',
      '/~u',
      '/a;p=1/b',
      '/..;/a',
      '/.;/x',
      '/.../b',
      '/a/..%2fb',
      '/a%2f..%2fb',
      '/a/%2e%2e%5cb',
      "/-._~!$&'()*+,;=:@|[]",
      '/%41%00%ff%zz%2',
    ])('keeps the path %s byte for byte', async (target) => {
      expect(await way()(target)).toBe(`root ${target}`);
    });

    it.each([
      '/?',
      '/a?',
      '/a??',
      '/a?b?c',
      '/a?=&&=',
      '/a?../../etc',
      '/a?b=/../c',
      '/a?q=a\\b',
      '/a?%zz%2%',
      '/a?+%20+',
      '/a?x[]={}|^',
      "/a?-._~!$&'()*+,;=:@/?",
      `/a?${'x'.repeat(8000)}`,
    ])('keeps the query of %s byte for byte', async (target) => {
      expect(await way()(target)).toBe(`root ${target}`);
    });

    it.each([
      ['/a/./b', '/a/b'],
      ['/a/../b', '/b'],
      ['/.', '/'],
      ['/..', '/'],
      ['/../../..', '/'],
      ['/a/.', '/a/'],
      ['/a/..', '/'],
      ['/a/%2e/b', '/a/b'],
      ['/a/%2E%2e/b', '/b'],
      ['/a/.%2e/b', '/b'],
      ['/a\\b', '/a/b'],
      ['/a\\..\\b', '/b'],
      ['/a/..\\b', '/b'],
      ['//../a', '//a'.slice(1)],
      ['/a/../?q=1', '/?q=1'],
      ['/a{b}^"c', '/a%7Bb%7D%5E%22c'],
      ['/a#b?c', '/a'],
      ['/a?b#c', '/a?b'],
    ])('resolves %s to %s', async (target, path) => {
      expect(await way()(target)).toBe(`root ${path}`);
    });

    it.each([
      ['/foo/../bar', 'root /bar'],
      ['/foo/%2e%2e/bar', 'root /bar'],
      ['/foo\\..\\bar', 'root /bar'],
      ['/bar/../foo/x', 'foo /foo/x'],
      ['/bar\\..\\foo', 'foo /foo'],
      ['/./foo', 'foo /foo'],
      ['/foo/./exact', 'exact /foo/exact'],
      ['/foo/x/%2E%2E/exact', 'exact /foo/exact'],
      ['/foo/exact/', 'foo /foo/exact/'],
      ['/foo/exact?q=1', 'exact /foo/exact?q=1'],
      ['/foo?/../bar', 'foo /foo?/../bar'],
      ['/foo%2Fexact', 'root /foo%2Fexact'],
      ['/foo%2f..%2fbar', 'root /foo%2f..%2fbar'],
      ['/f%6Fo', 'root /f%6Fo'],
      ['/FOO', 'root /FOO'],
      ['/foobar', 'root /foobar'],
      ['/foo;x', 'root /foo;x'],
      ['//foo', 'root //foo'],
      ['/foo//exact', 'foo /foo//exact'],
    ])('matches the path it forwards: %s to %s', async (target, where) => {
      expect(await way()(target)).toBe(where);
    });

    it.each(['/a b', '/a\x01b', '/a\tb', '/a\x7fb', '/caf\xe9', '/a?\x00', '/a<b', '/a?">'])(
      'refuses what no request line may hold: %j',
      async (target) => {
        expect(await way()(target)).toBe(400);
        expect([root.dials, foo.dials, exact.dials]).toEqual([0, 0, 0]);
      },
    );
  });

  it.each(['/foo/../bar', '/foo/..', '/foo\\..\\..\\', '/foo/%2e%2e/', '/../foobar'])(
    'answers 404 where %s leads out of the only route',
    async (target) => {
      expect(await ask(rig.front.port, { host: 'one.example', target })).toBe(404);
      expect(foo.dials).toBe(0);
    },
  );

  it.each([
    ['/caf\xc3\xa9', '/caf%C3%A9'],
    ['/a?q=caf\xc3\xa9%20\\', '/a?q=caf%C3%A9%20\\'],
    ['/\xf0\x9f\x98\x80?\xe2\x82\xac', '/%F0%9F%98%80?%E2%82%AC'],
  ])('percent-encodes UTF-8 that comes as it is: %j', async (target, path) => {
    // Node's parser, and so the front, refuses these; Cloudflare need not.
    const absolute = `http://a.example${target}`;
    expect(await ask(rig.edge.worker.port, { target: absolute })).toBe(`root ${path}`);
  });

  it('takes the authority of an absolute target for the host, as RFC 9112 section 3.2.2 says', async () => {
    const target = 'http://one.example/foo?x';
    expect(await ask(rig.front.port, { host: 'a.example', target })).toBe('foo /foo?x');
    expect(foo.request.headers[0]).toEqual(['Host', 'one.example']);
  });

  it('answers OPTIONS * and requests without a usable Host with 400', async () => {
    const { port } = rig.front;
    expect(await ask(port, { method: 'OPTIONS', target: '*' })).toBe(400);
    expect(await ask(port, { host: '' })).toBe(400);
    expect(await ask(port, { host: 'a.example', headers: ['Host: one.example'] })).toBe(400);
    expect(await ask(port, { host: 'a.example/foo' })).toBe(400);
    expect(await ask(port, { host: 'user@a.example' })).toBe(400);
  });
});

function named(name: string): Promise<Upstream> {
  return Upstream.start(answering(ok(name)));
}
