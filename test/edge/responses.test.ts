import { brotliCompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClientMessage, namesOf, valueIn, valuesOf } from '../support/message.ts';
import { type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

describe('an answer', () => {
  let rig: Rig;
  let upstream: Upstream;
  let answer: string | Uint8Array = '';

  beforeAll(async () => {
    upstream = await Upstream.start(answering(() => answer));
    rig = await startRig();
    await rig.publish(snapshotOf({ 'a.example': { '/': upstream.port } }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  /** What the client gets when the upstream says this. */
  function answered(bytes: string | Uint8Array, request: RawRequest = {}): Promise<ClientMessage> {
    answer = bytes;
    return send(rig.front.port, request);
  }

  it('has the headers of the upstream and the request id', async () => {
    const response = await answered(
      ok(
        'hi',
        'Content-Type: text/x; charset=latin1',
        'X-One: 1',
        'Date: Mon, 01 Jan 2024 00:00:00 GMT',
        'X-Request-ID: theirs',
      ),
    );
    expect(namesOf(response)).toEqual([
      'connection',
      'content-length',
      'content-type',
      'date',
      'x-one',
      'x-request-id',
    ]);
    expect(valueIn(response, 'content-type')).toBe('text/x; charset=latin1');
    expect(valueIn(response, 'date')).toBe('Mon, 01 Jan 2024 00:00:00 GMT');
    expect(valueIn(response, 'x-request-id')).toBe(valueIn(upstream.request, 'x-request-id'));
  });

  it('gets no Content-Type that the upstream did not give', async () => {
    expect(valuesOf(await answered(ok('hi')), 'content-type')).toEqual([]);
  });

  it('keeps headers that come more than once apart and in order', async () => {
    const response = await answered(
      ok(
        '',
        'Set-Cookie: a=1; Expires=Mon, 01 Jan 2035 00:00:00 GMT',
        'Link: </a>',
        'Set-Cookie: b=2',
        'Set-Cookie: a=3',
        'Link: </b>',
        'WWW-Authenticate: Basic realm="x, y"',
        'WWW-Authenticate: Bearer',
        'Vary: a',
        'Vary: b',
      ),
    );
    expect(valuesOf(response, 'set-cookie')).toEqual([
      'a=1; Expires=Mon, 01 Jan 2035 00:00:00 GMT',
      'b=2',
      'a=3',
    ]);
    expect(valuesOf(response, 'link').join(', ')).toBe('</a>, </b>');
    expect(valuesOf(response, 'www-authenticate').join(', ')).toBe('Basic realm="x, y", Bearer');
    expect(valuesOf(response, 'vary').join(', ')).toBe('a, b');
  });

  it('loses those about the connection, named in Connection or not', async () => {
    const response = await answered(
      ok(
        '',
        'Connection: close, X-Hop',
        'X-Hop: 1',
        'Keep-Alive: timeout=5',
        'Proxy-Connection: close',
        'Upgrade: h2c',
        'Trailer: X-End',
        'X-Kept: 1',
        'Connection: Set-Cookie',
      ),
    );
    for (const name of ['x-hop', 'keep-alive', 'proxy-connection', 'upgrade', 'trailer']) {
      expect([name, valuesOf(response, name)]).toEqual([name, []]);
    }
    expect(valuesOf(response, 'x-kept')).toEqual(['1']);
    expect(valuesOf(response, 'connection')).toEqual(['close']);
  });

  it.each([
    ['UTF-8', 'caf\xc3\xa9 \xe2\x82\xac', 'caf\xc3\xa9 \xe2\x82\xac'],
    [
      'latin1, which becomes UTF-8',
      'attachment; filename="caf\xe9.pdf"',
      'attachment; filename="caf\xc3\xa9.pdf"',
    ],
  ])('keeps header values of %s', async (_, given, got) => {
    const response = await answered(ok('', `Content-Disposition: ${given}`, `X-Bytes: ${given}`));
    expect(valueIn(response, 'content-disposition')).toBe(got);
    expect(valueIn(response, 'x-bytes')).toBe(got);
  });

  it('has header names of every token, empty values and long ones', async () => {
    const name = "x-!#$%&'*+.^_`|~9";
    const response = await answered(
      ok('', `${name}: 1`, 'X-Empty:', `X-Long: ${'v'.repeat(15_000)}`, 'X-Tab: a\tb'),
    );
    expect(valueIn(response, name)).toBe('1');
    expect(valueIn(response, 'x-empty')).toBe('');
    expect(valueIn(response, 'x-long')).toHaveLength(15_000);
    expect(valueIn(response, 'x-tab')).toBe('a\tb');
  });

  it('may have 100 KB of headers', async () => {
    const cookies = Array.from({ length: 100 }, (_, i) => `Set-Cookie: c${i}=${'v'.repeat(1_000)}`);
    const response = await answered(ok('', ...cookies));
    expect(valuesOf(response, 'set-cookie')).toHaveLength(100);
  });

  it.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', (text: string) => Buffer.from(`not really zstd ${text}`)],
    ['gzip, br', (text: string) => brotliCompressSync(gzipSync(text))],
  ])('encoded as %s arrives as the bytes it was', async (encoding, encode) => {
    const body = encode('compressible '.repeat(1000));
    const head = `HTTP/1.1 200 OK\r\nContent-Encoding: ${encoding}\r\nContent-Type: text/plain\r\nETag: "x"\r\nContent-Length: ${body.length}\r\n\r\n`;
    for (const accept of [`Accept-Encoding: ${encoding}`, 'Accept-Encoding: identity', 'X-No: 1']) {
      const response = await answered(Buffer.concat([Buffer.from(head), body]), {
        headers: [accept],
      });
      expect(valueIn(response, 'content-encoding')).toBe(encoding);
      expect(valueIn(response, 'content-length')).toBe(String(body.length));
      expect(valueIn(response, 'etag')).toBe('"x"');
      expect(response.body.equals(body)).toBe(true);
    }
  });

  it('is not encoded by us, whatever the client accepts', async () => {
    const body = 'compressible '.repeat(1000);
    const response = await answered(ok(body, 'Content-Type: text/html'), {
      headers: ['Accept-Encoding: gzip, br'],
    });
    expect(valuesOf(response, 'content-encoding')).toEqual([]);
    expect(response.body.toString()).toBe(body);
  });

  it('encoded and chunked stays encoded', async () => {
    const body = gzipSync('hello');
    const size = body.length.toString(16);
    const head = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n${size}\r\n`;
    const response = await answered(
      Buffer.concat([Buffer.from(head), body, Buffer.from('\r\n0\r\n\r\n')]),
    );
    expect(gunzipSync(response.body).toString()).toBe('hello');
  });

  it.each([301, 302, 303, 307, 308])('of a redirect by %i passes through', async (status) => {
    const location = 'https://other.example:8443/p%20q?x=1#frag';
    const response = await answered(
      `HTTP/1.1 ${status} Moved\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(response.status).toBe(status);
    expect(valueIn(response, 'location')).toBe(location);
    expect(upstream.dials).toBe(1);
  });

  it.each([
    200, 201, 202, 206, 226, 299, 300, 305, 306, 400, 401, 402, 403, 404, 405, 407, 409, 411, 412,
    413, 416, 418, 421, 422, 425, 426, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 520,
    599,
  ])('of status %i has this status, and its body', async (status) => {
    const response = await answered(
      `HTTP/1.1 ${status} Whatever\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbody`,
    );
    expect([response.status, response.body.toString()]).toEqual([status, 'body']);
    expect(valueIn(response, 'retry-after')).toBe('7');
  });

  it.each([
    [204, 'ETag: "x"'],
    [204, 'Content-Length: 0'],
    [304, 'Content-Length: 5'],
    [304, 'ETag: "x"'],
    [304, 'Transfer-Encoding: chunked'],
  ])('of status %i with %s has no body', async (status, line) => {
    const response = await answered(`HTTP/1.1 ${status} X\r\n${line}\r\nX-Kept: 1\r\n\r\n`);
    expect([response.status, response.framing]).toEqual([status, 'none']);
    expect(valueIn(response, 'x-kept')).toBe('1');
    expect(valuesOf(response, 'transfer-encoding')).toEqual([]);
    if (line.startsWith('ETag')) expect(valueIn(response, 'etag')).toBe('"x"');
  });

  it('of status 205 has no body, and leaves no connection open when the upstream sends one', async () => {
    const head = 'HTTP/1.1 205 Reset Content\r\nContent-Length: 2000000\r\n\r\n';
    const response = await answered(head + 'x'.repeat(1_000_000));
    expect([response.status, response.body.length]).toEqual([205, 0]);
    expect(await (await upstream.wire(0)).ended()).toBe(true);
  });

  it.each([
    ['a length', 'Content-Length: 12345', '12345'],
    ['no length', 'X-No: 1', null],
  ])('to HEAD with %s has the same and no body', async (_, line, length) => {
    const response = await answered(`HTTP/1.1 200 OK\r\n${line}\r\nContent-Type: a/b\r\n\r\n`, {
      method: 'HEAD',
    });
    expect([response.status, response.body.length]).toEqual([200, 0]);
    expect(valueIn(response, 'content-length')).toBe(length);
    expect(valueIn(response, 'content-type')).toBe('a/b');
    expect(upstream.request.method).toBe('HEAD');
  });

  it('may come after answers of 1xx, which are not passed on', async () => {
    const early = 'HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n';
    const response = await answered(
      `HTTP/1.1 100 Continue\r\n\r\n${early}HTTP/1.1 102 Processing\r\n\r\n${ok('done')}`,
    );
    expect([response.status, response.interim, response.body.toString()]).toEqual([
      200,
      [],
      'done',
    ]);
    expect(valuesOf(response, 'link')).toEqual([]);
  });

  it('loses its trailers and chunk extensions, and keeps its body', async () => {
    const response = await answered(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n5;a=b\r\nhello\r\n6;c="d;e"\r\n world\r\n0\r\nX-End: 1\r\n\r\n',
    );
    expect(response.body.toString()).toBe('hello world');
    expect(valuesOf(response, 'x-end')).toEqual([]);
  });

  it.each([
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'],
    [
      'chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n',
    ],
    ['the end of the connection', 'HTTP/1.1 200 OK\r\n\r\nhello'],
    ['the end of the connection, as in HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nhello'],
    [
      'a length, with bytes beyond it',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 500 No\r\n\r\n',
    ],
    [
      'chunks, with bytes beyond them',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 500 No\r\n\r\n',
    ],
    ['a length and no reason phrase', 'HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello'],
  ])('with a body delimited by %s arrives whole', async (_, bytes) => {
    const response = await answered(bytes);
    expect([response.status, response.body.toString()]).toEqual([200, 'hello']);
  });

  it.each([
    ['empty by length', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['empty by chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['empty by the end of the connection', 'HTTP/1.1 200 OK\r\n\r\n'],
  ])('may be %s', async (_, bytes) => {
    const response = await answered(bytes);
    expect([response.status, response.body.length]).toEqual([200, 0]);
  });
});
