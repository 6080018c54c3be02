import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isReservedHeader } from '../../worker/http1/header-names.ts';
import type { UpstreamRequest } from '../../worker/http1/message.ts';
import { InvalidRequestError } from '../../worker/http1/request-error.ts';
import { encodeRequestHead } from '../../worker/http1/request-head.ts';
import { textOf } from './support/bytes.ts';
import { LLHTTP_METHODS, readRequest } from './support/llhttp.ts';

const GET: UpstreamRequest = {
  method: 'GET',
  target: '/',
  host: 'example.com',
  headers: [],
  body: null,
  contentLength: null,
  upgrade: null,
};

const encode = (change: Partial<UpstreamRequest>): string =>
  textOf(encodeRequestHead({ ...GET, ...change }));

const aBody = (): ReadableStream<Uint8Array> => new ReadableStream();

describe('a head', () => {
  test('has the bytes given, and Host first', () => {
    const head = encode({
      target: '/a//b/../%2F?q=<>"\'{}|^`\\',
      host: 'a-b_c.example.com:8080',
      headers: [
        ['X-One', 'a  b\tc'],
        ['x-two', ''],
        ['X-One', 'ü'],
      ],
    });
    expect(head).toBe(
      'GET /a//b/../%2F?q=<>"\'{}|^`\\ HTTP/1.1\r\nHost: a-b_c.example.com:8080\r\n' +
        'X-One: a  b\tc\r\nx-two: \r\nX-One: \xfc\r\nConnection: close\r\n\r\n',
    );
  });

  test.each<[string, Partial<UpstreamRequest>, string]>([
    ['GET without a body', {}, 'Connection: close'],
    ['GET with a length of 0', { contentLength: 0 }, 'Content-Length: 0\r\nConnection: close'],
    ['POST without a body', { method: 'POST' }, 'Content-Length: 0\r\nConnection: close'],
    ['DELETE without a body', { method: 'DELETE' }, 'Connection: close'],
    [
      'a body of known length',
      { method: 'PUT', body: aBody(), contentLength: 12 },
      'Content-Length: 12\r\nConnection: close',
    ],
    [
      'a body of unknown length',
      { body: aBody() },
      'Transfer-Encoding: chunked\r\nConnection: close',
    ],
    ['an upgrade', { upgrade: 'websocket' }, 'Connection: Upgrade\r\nUpgrade: websocket'],
  ])('frames %s', (_, request, lines) => {
    const head = encode(request);
    const start = head.indexOf('\r\n', head.indexOf('Host: ')) + 2;
    expect(head.slice(start)).toBe(`${lines}\r\n\r\n`);
  });

  test('OPTIONS may ask for the server as a whole', () => {
    expect(encode({ method: 'OPTIONS', target: '*' })).toMatch(/^OPTIONS \* HTTP\/1\.1\r\n/);
  });
});

describe('refuses', () => {
  test.each<[string, Partial<UpstreamRequest>]>([
    ['an empty method', { method: '' }],
    ['a method with a space', { method: 'GET /x' }],
    ['a method with a line end', { method: 'GET\r\n' }],
    ['a method beyond ASCII', { method: 'GÉT' }],
    ['CONNECT', { method: 'CONNECT' }],
    ['an empty target', { target: '' }],
    ['a relative target', { target: 'a' }],
    ['an absolute target', { target: 'http://example.com/' }],
    ['* for GET', { target: '*' }],
    ['a space in the target', { target: '/ HTTP/1.1' }],
    ['a tab in the target', { target: '/\t' }],
    ['a line end in the target', { target: '/\r\nX: y' }],
    ['a bare LF in the target', { target: '/\n' }],
    ['NUL in the target', { target: '/\0' }],
    ['DEL in the target', { target: '/\x7f' }],
    ['a target beyond ASCII', { target: '/ü' }],
    ['a target beyond latin1', { target: '/Ċ' }],
    ['an empty host', { host: '' }],
    ['a host with a space', { host: 'a b' }],
    ['a host with a line end', { host: 'a\r\nb' }],
    ['a host with a path', { host: 'a/b' }],
    ['a host with credentials', { host: 'a@b' }],
    ['a list of hosts', { host: 'a, b' }],
    ['a host with a comma', { host: 'a\u002c b' }],
    ['an IPv6 host without brackets', { host: '::1' }],
    ['a port that is none', { host: 'a:b' }],
    ['an empty name', { headers: [['', 'b']] }],
    ['a name with a colon', { headers: [['a:', 'b']] }],
    ['a name with a space', { headers: [['a ', 'b']] }],
    ['a name with a line end', { headers: [['a\r\nb', 'c']] }],
    ['a CR in a value', { headers: [['a', 'b\rc']] }],
    ['an LF in a value', { headers: [['a', 'b\nc']] }],
    ['NUL in a value', { headers: [['a', 'b\0c']] }],
    ['a control character in a value', { headers: [['a', '\x1b']] }],
    ['DEL in a value', { headers: [['a', '\x7f']] }],
    ['a value beyond latin1', { headers: [['a', '€']] }],
    ['a character that ends in LF when cut to a byte', { headers: [['a', 'b\u010ac']] }],
    ['a value with a blank before it', { headers: [['a', ' b']] }],
    ['a value with a blank behind it', { headers: [['a', 'b\t']] }],
    ['a body with an upgrade', { upgrade: 'websocket', body: aBody() }],
    ['an upgrade to what is no token', { upgrade: 'a, b' }],
    ['a length without a body', { contentLength: 1 }],
    ['a negative length', { body: aBody(), contentLength: -1 }],
    ['a length with a fraction', { body: aBody(), contentLength: 1.5 }],
    ['a length that is no number', { body: aBody(), contentLength: Number.NaN }],
    ['a length beyond 2^53', { body: aBody(), contentLength: 2 ** 53 }],
  ])('%s', (_, request) => {
    expect(() => encode(request)).toThrow(InvalidRequestError);
  });

  test.each([
    'Host',
    'CONTENT-LENGTH',
    'Transfer-Encoding',
    'connection',
    'Keep-Alive',
    'Proxy-Connection',
    'TE',
    'Trailer',
    'Upgrade',
    'Expect',
  ])('a second opinion on %s', (name) => {
    expect(() => encode({ headers: [[name, 'x']] })).toThrow(InvalidRequestError);
  });
});

describe('against llhttp', () => {
  const char = (from: number, to: number) =>
    fc.integer({ min: from, max: to }).map((code) => String.fromCharCode(code));
  // Mostly what is fine, now and then anything at all.
  const anything = fc.string({ unit: char(0, 0x17f), maxLength: 8 });
  const mostly = <T>(fine: fc.Arbitrary<T>, other: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 15, arbitrary: fine }, { weight: 1, arbitrary: other });
  const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}$/);
  const name = mostly(
    fc.oneof(token, fc.constantFrom('Accept', 'x-a', 'Cookie', 'Content-Type')),
    fc.oneof(anything, fc.constantFrom('Content-Length', 'transfer-encoding', 'Host')),
  );
  const value = mostly(
    fc.string({ unit: fc.oneof(char(0x20, 0x7e), char(0x80, 0xff), fc.constant('\t')) }),
    anything,
  ).map((text) => text.replace(/^[ \t]+|[ \t]+$/g, ''));
  const request = fc.record({
    method: mostly(fc.constantFrom(...LLHTTP_METHODS), anything),
    target: mostly(
      fc.string({ unit: char(0x21, 0x7e), maxLength: 40 }).map((text) => `/${text}`),
      anything,
    ),
    host: mostly(fc.constantFrom('example.com', '[::1]:80', 'a:8080', '10.0.0.1'), anything),
    headers: fc.array(fc.tuple(name, value), { maxLength: 40 }),
    framing: fc.constantFrom('none', 'length', 'chunked', 'upgrade'),
  });

  test('what is written is read with the same meaning', () => {
    let acceptedCount = 0;
    fc.assert(
      fc.property(request, ({ framing, ...rest }) => {
        const message: UpstreamRequest = {
          ...rest,
          body: framing === 'length' || framing === 'chunked' ? aBody() : null,
          contentLength: framing === 'length' ? 5 : null,
          upgrade: framing === 'upgrade' ? 'websocket' : null,
        };
        let head: Uint8Array;
        try {
          head = encodeRequestHead(message);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidRequestError);
          return;
        }
        if (!LLHTTP_METHODS.includes(message.method)) return;
        acceptedCount += 1;
        const content = {
          length: 'hello',
          chunked: '5\r\nhello\r\n0\r\n\r\n',
          none: '',
          upgrade: '',
        };
        const read = readRequest(Buffer.concat([head, Buffer.from(content[framing])]));
        expect(read.length).toBe(1);
        const [{ method, target, headers, body, isComplete } = expect.unreachable()] = read;
        expect({ method, target, body, isComplete }).toEqual({
          method: message.method,
          target: message.target,
          body: framing === 'length' || framing === 'chunked' ? 'hello' : '',
          isComplete: true,
        });
        expect(headers.slice(0, 1)).toEqual([['Host', message.host]]);
        expect(headers.slice(1, 1 + message.headers.length)).toEqual(message.headers);
        const ours = headers.slice(1 + message.headers.length).map(([key]) => key.toLowerCase());
        expect(ours.every(isReservedHeader)).toBe(true);
        expect(ours.filter((key) => key === 'connection').length).toBe(1);
      }),
      { numRuns: 3000 },
    );
    // Otherwise the generator tests only refusals.
    expect(acceptedCount).toBeGreaterThan(300);
  });
});
