import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { namesOf, type ServerMessage, valueIn, valuesOf } from '../support/message.ts';
import { type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

describe('the headers of a request', () => {
  let rig: Rig;
  let upstream: Upstream;

  beforeAll(async () => {
    upstream = await Upstream.start(answering(ok('ok')));
    rig = await startRig();
    await rig.publish(snapshotOf({ 'a.example': { '/': upstream.port } }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  /** What the upstream got. */
  async function forwarded(request: RawRequest): Promise<ServerMessage> {
    const response = await send(rig.front.port, request);
    expect(response.status).toBe(200);
    return upstream.request;
  }

  it('are these and no others when the client sends none', async () => {
    const request = await forwarded({});
    expect(namesOf(request)).toEqual([
      'cf-connecting-ip',
      'connection',
      'host',
      'traceparent',
      'x-forwarded-for',
      'x-forwarded-host',
      'x-forwarded-port',
      'x-forwarded-proto',
      'x-real-ip',
      'x-request-id',
    ]);
    expect(new Set(request.headers.map(([name]) => name.toLowerCase())).size).toBe(
      request.headers.length,
    );
    expect(valueIn(request, 'connection')).toBe('close');
    expect(valueIn(request, 'x-request-id')).toMatch(/^[0-9a-f]{32}$/);
    expect(valueIn(request, 'traceparent')).toBe(
      `00-${valueIn(request, 'x-request-id')}-${valueIn(request, 'traceparent')?.slice(36, 52)}-01`,
    );
  });

  it('differ in request id and trace from one request to the next', async () => {
    const [one, two] = [await forwarded({}), await forwarded({})];
    expect(valueIn(one, 'x-request-id')).not.toBe(valueIn(two, 'x-request-id'));
    expect(valueIn(one, 'traceparent')).not.toBe(valueIn(two, 'traceparent'));
  });

  it.each(['a.example', 'A.eXample', 'a.example:8787', 'a.example.', 'A.EXAMPLE.:80'])(
    'keep Host %s byte for byte, and match without case, port and dot',
    async (host) => {
      const request = await forwarded({ host });
      expect(request.headers[0]).toEqual(['Host', host]);
      expect(valueIn(request, 'x-forwarded-host')).toBe(host);
      const port = /:(\d+)$/.exec(host)?.[1] ?? '80';
      expect(valueIn(request, 'x-forwarded-port')).toBe(port);
      expect(valueIn(request, 'x-forwarded-proto')).toBe('http');
    },
  );

  it('say the scheme and port of an https request', async () => {
    const { port } = rig.edge.worker;
    await send(port, { target: 'https://a.example/', headers: ['CF-Connecting-IP: 192.0.2.9'] });
    expect(valueIn(upstream.request, 'x-forwarded-proto')).toBe('https');
    expect(valueIn(upstream.request, 'x-forwarded-port')).toBe('443');
    expect(valueIn(upstream.request, 'x-forwarded-for')).toBe('192.0.2.9');
    expect(valueIn(upstream.request, 'x-real-ip')).toBe('192.0.2.9');
  });

  it('tell the client and the trace as we see them, whatever the client says', async () => {
    const lie = '6.6.6.6';
    const request = await forwarded({
      headers: [
        `X-Forwarded-For: ${lie}`,
        `x-forwarded-for: ${lie}, 7.7.7.7`,
        'X-Forwarded-Host: evil.example',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Port: 443',
        'X-Forwarded-Scheme: https',
        'X-Forwarded-Prefix: /admin',
        'X-Forwarded-Server: evil',
        'X-Forwarded-Client-Cert: By=evil',
        `X-Real-IP: ${lie}`,
        'X-Request-ID: client-chosen',
        'traceparent: 00-11111111111111111111111111111111-2222222222222222-01',
        'tracestate: evil=1',
        `Forwarded: for=${lie};proto=https`,
        `CF-Connecting-IP: ${lie}`,
        'CF-Ray: 1',
        `True-Client-IP: ${lie}`,
        'CDN-Loop: evil',
        'Proxy: http://evil.example',
        'Proxy-Authorization: Basic c2VjcmV0',
      ],
    });
    expect(JSON.stringify(request.headers)).not.toMatch(/6\.6\.6\.6|7\.7\.7\.7|evil|client-chosen/);
    expect(valueIn(request, 'x-forwarded-for')).toBe('127.0.0.1');
    expect(valueIn(request, 'x-real-ip')).toBe('127.0.0.1');
    expect(valueIn(request, 'cf-connecting-ip')).toBe('127.0.0.1');
    expect(valueIn(request, 'x-forwarded-proto')).toBe('http');
    expect(valueIn(request, 'x-request-id')).toMatch(/^[0-9a-f]{32}$/);
    for (const name of ['tracestate', 'forwarded', 'proxy', 'proxy-authorization', 'cf-ray']) {
      expect(valuesOf(request, name)).toEqual([]);
    }
    for (const name of ['scheme', 'prefix', 'server', 'client-cert']) {
      expect(valuesOf(request, `x-forwarded-${name}`)).toEqual([]);
    }
  });

  it('lose those about the connection, named in Connection or not', async () => {
    const request = await forwarded({
      headers: [
        'Connection: close, X-Hop, keep-alive',
        'X-Hop: 1',
        'Keep-Alive: timeout=5',
        'TE: trailers, deflate',
        'Proxy-Connection: keep-alive',
        'Trailer: X-End',
        'X-Kept: 1',
      ],
    });
    for (const name of ['x-hop', 'keep-alive', 'te', 'proxy-connection', 'trailer', 'upgrade']) {
      expect(valuesOf(request, name)).toEqual([]);
    }
    expect(valuesOf(request, 'connection')).toEqual(['close']);
    expect(valueIn(request, 'x-kept')).toBe('1');
  });

  it('cannot be taken away by naming them in Connection', async () => {
    const ours = ['Host', 'X-Forwarded-For', 'X-Real-IP', 'CF-Connecting-IP', 'X-Request-ID'];
    const request = await forwarded({
      headers: [
        `Connection: close, ${ours.join(', ')}, Authorization, Cookie`,
        'Cookie: a=1',
        'Authorization: x',
      ],
    });
    for (const name of [...ours, 'Authorization', 'Cookie']) {
      expect(valuesOf(request, name.toLowerCase()), name).toHaveLength(1);
    }
  });

  it('pass end to end as they are', async () => {
    const kept: readonly (readonly [string, string])[] = [
      ['accept', 'text/html, */*;q=0.1'],
      ['accept-encoding', 'zstd, br;q=1.0, gzip;q=0.5, *;q=0'],
      ['authorization', 'Bearer abc.def'],
      ['cookie', 'a=1; b="2, 3"; c='],
      ['content-type', 'application/x-www-form-urlencoded; charset=UTF-8'],
      ['if-none-match', 'W/"x", "y"'],
      ['range', 'bytes=0-1,5-'],
      ['referer', 'http://a.example/?q=%zz'],
      ['user-agent', 'curl/8.0 (x; "y")'],
      ['via', '1.1 proxy.example'],
      ['x-empty', ''],
      ['x-tab', 'a\tb'],
      ["x-token!#$%&'*+-.^_`|~09", 'v'],
      ['x_underscore', '1'],
    ];
    const request = await forwarded({ headers: kept.map(([name, value]) => `${name}: ${value}`) });
    for (const [name, value] of kept)
      expect([name, valuesOf(request, name)]).toEqual([name, [value]]);
  });

  it('that come twice arrive as a list, cookies as RFC 6265 section 5.4 puts them', async () => {
    const request = await forwarded({
      headers: [
        'X-Twice: 1',
        'X-Twice: 2',
        'Cookie: a=1',
        'Accept: a/b',
        'Cookie: b=2',
        'accept: c/d',
      ],
    });
    expect(valuesOf(request, 'x-twice').join(', ')).toBe('1, 2');
    expect(valuesOf(request, 'accept').join(', ')).toBe('a/b, c/d');
    expect(valuesOf(request, 'cookie')).toEqual(['a=1; b=2']);
  });

  it.each([
    ['UTF-8', 'caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80'],
    ['UTF-8 of latin1 letters', '\xc3\xa9\xc3\xbf\xc2\x80'],
  ])('keep values of %s byte for byte', async (_, value) => {
    const request = await forwarded({ headers: [`X-Bytes: ${value}`, `User-Agent: ${value}`] });
    expect(valueIn(request, 'x-bytes')).toBe(value);
    expect(valueIn(request, 'user-agent')).toBe(value);
    const body = { method: 'POST', body: 'hi' };
    const post = await forwarded({ ...body, headers: [`X-Bytes: ${value}`, 'Content-Length: 2'] });
    expect(valueIn(post, 'x-bytes')).toBe(value);
  });

  it.each([
    ['latin1, which workerd does not hand over', 'caf\xe9'],
    ['half a character', '\xe2\x82'],
    ['a surrogate', '\xed\xa0\x80'],
  ])('are refused rather than changed when a value is %s', async (_, value) => {
    const response = await send(rig.front.port, { headers: [`X-Bytes: ${value}`] });
    expect(response.status).toBe(400);
    const id = valueIn(response, 'x-request-id') ?? 'no id';
    expect(await rig.log.line(id)).toMatch(/BadRequest.*x-bytes.*not UTF-8/);
    expect(upstream.requests).toEqual([]);
  });

  it('are refused with control characters in them', async () => {
    for (const value of ['a\x01b', 'a\x7fb', 'a\x00b', 'a\rb']) {
      const { status } = await send(rig.front.port, { headers: [`X-Bytes: ${value}`] });
      expect([value, status]).toEqual([value, 400]);
      const { port } = rig.edge.worker;
      const direct = { target: 'http://a.example/', headers: [`X-Bytes: ${value}`] };
      expect([value, (await send(port, direct)).status]).toEqual([value, 400]);
    }
    expect(upstream.requests).toEqual([]);
  });

  it('may be many and long', async () => {
    const many = Array.from({ length: 90 }, (_, i) => `X-${i}: ${i}`);
    const request = await forwarded({ headers: [...many, `X-Long: ${'v'.repeat(60_000)}`] });
    expect(valueIn(request, 'x-89')).toBe('89');
    expect(valueIn(request, 'x-long')).toHaveLength(60_000);
  });

  it('beyond 128 KiB get 431', async () => {
    const { status } = await send(rig.front.port, { headers: [`X-Long: ${'v'.repeat(140_000)}`] });
    expect(status).toBe(431);
  });
});
