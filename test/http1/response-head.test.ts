import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LIMITS } from '../../worker/http1/limits.ts';
import { ProtocolError } from '../../worker/http1/protocol-error.ts';
import { type ResponseHead, ResponseHeadReader } from '../../worker/http1/response-head.ts';
import { type Cuts, cuts, latin1, split, textOf } from './support/bytes.ts';

function read(text: string, at: Cuts = []): { head: ResponseHead; rest: string } {
  const reader = new ResponseHeadReader();
  const pieces = split(latin1(text), at);
  for (const [index, piece] of pieces.entries()) {
    const found = reader.read(piece, 0);
    if (found === null) continue;
    const rest = Buffer.concat([piece.subarray(found.next), ...pieces.slice(index + 1)]);
    return { head: found.head, rest: textOf(rest) };
  }
  throw new Error('the head is incomplete');
}

const HEAD =
  'HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a=1\r\nset-cookie:\tb=\xff \r\nEmpty:\r\n\r\n';

test('a head is read the same however its bytes arrive', () => {
  const whole = read(`${HEAD}rest`);
  expect(whole.rest).toBe('rest');
  expect(whole.head.headers).toEqual([
    ['Server', 'x'],
    ['Set-Cookie', 'a=1'],
    ['set-cookie', 'b=\xff'],
    ['Empty', ''],
  ]);
  fc.assert(
    fc.property(cuts, (at) => {
      expect(read(`${HEAD}rest`, at)).toEqual(whole);
    }),
  );
});

test('the reason phrase is free text, or missing with or without its space', () => {
  for (const line of ['200 OK', '200 ', '200', '200 \xe4 \t x']) {
    expect(read(`HTTP/1.1 ${line}\r\n\r\n`).head.status).toBe(200);
  }
});

describe('what delimits the body', () => {
  const framing = (lines: string, version = '1.1') => {
    const { contentLength, isChunked, willClose } = read(
      `HTTP/${version} 200 OK\r\n${lines}\r\n`,
    ).head;
    return { contentLength, isChunked, willClose };
  };

  test('is a length, chunks, or the end of the connection', () => {
    expect(framing('')).toEqual({ contentLength: null, isChunked: false, willClose: false });
    expect(framing('content-LENGTH: 0012\r\n').contentLength).toBe(12);
    expect(framing('Content-Length: 9007199254740991\r\n').contentLength).toBe(2 ** 53 - 1);
    expect(framing('Transfer-Encoding: Chunked\r\n').isChunked).toBe(true);
  });

  test('the upstream promises to close', () => {
    expect(framing('Connection: foo, CLOSE\r\n').willClose).toBe(true);
    expect(framing('Connection: keep-alive\r\n').willClose).toBe(false);
    expect(framing('', '1.0').willClose).toBe(true);
    expect(framing('Connection: keep-alive\r\n', '1.0').willClose).toBe(false);
  });
});

describe('refuses', () => {
  const refused: Readonly<Record<string, string>> = {
    'another protocol': 'ICY 200 OK\r\n\r\n',
    'HTTP/2': 'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.2': 'HTTP/1.2 200 OK\r\n\r\n',
    'lower-case HTTP': 'http/1.1 200 OK\r\n\r\n',
    'an empty first line': '\r\nHTTP/1.1 200 OK\r\n\r\n',
    'two spaces before the status': 'HTTP/1.1  200 OK\r\n\r\n',
    'a tab before the status': 'HTTP/1.1\t200 OK\r\n\r\n',
    'a status of two digits': 'HTTP/1.1 20 OK\r\n\r\n',
    'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
    'a status below 100': 'HTTP/1.1 099 OK\r\n\r\n',
    'a status beyond 599': 'HTTP/1.1 999 OK\r\n\r\n',
    'a 1xx in HTTP/1.0': 'HTTP/1.0 100 Continue\r\n\r\n',
    'a control character in the reason': 'HTTP/1.1 200 O\x01K\r\n\r\n',
    'a bare LF after the status line': 'HTTP/1.1 200 OK\nA: b\r\n\r\n',
    'a bare LF after a header': 'HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n',
    'a bare LF at the end': 'HTTP/1.1 200 OK\r\nA: b\r\n\n',
    'a bare CR in the status line': 'HTTP/1.1 200 O\rK\r\n\r\n',
    'a bare CR in a value': 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n',
    'a CR before CRLF': 'HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n',
    'NUL in a value': 'HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n',
    'NUL in a name': 'HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n',
    'DEL in a value': 'HTTP/1.1 200 OK\r\nA: b\x7f\r\n\r\n',
    'obs-fold': 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    'obs-fold with a tab': 'HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\n',
    'a blank before the first header': 'HTTP/1.1 200 OK\r\n A: b\r\n\r\n',
    'a space before the colon': 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
    'a tab before the colon': 'HTTP/1.1 200 OK\r\nA\t: b\r\n\r\n',
    'a line without a colon': 'HTTP/1.1 200 OK\r\nA\r\n\r\n',
    'an empty name': 'HTTP/1.1 200 OK\r\n: b\r\n\r\n',
    'a name beyond ASCII': 'HTTP/1.1 200 OK\r\n\xe4: b\r\n\r\n',
    'two different lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'the same length twice': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n',
    'a list of lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n',
    'an empty length': 'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n',
    'a signed length': 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n',
    'a negative length': 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'a hexadecimal length': 'HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n',
    'a length with a fraction': 'HTTP/1.1 200 OK\r\nContent-Length: 1.0\r\n\r\n',
    'a length beyond 2^53': 'HTTP/1.1 200 OK\r\nContent-Length: 9007199254740992\r\n\r\n',
    'a length of many digits': `HTTP/1.1 200 OK\r\nContent-Length: ${'9'.repeat(400)}\r\n\r\n`,
    'chunked with a length':
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n',
    'a length with chunked':
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'chunked twice':
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n',
    'chunked, chunked': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n',
    'gzip, chunked': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    'chunked, gzip': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n',
    identity: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n',
    'a transfer coding of no name': 'HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n',
    'chunked behind a vertical tab': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n',
    'chunked with a parameter': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;a=b\r\n\r\n',
    'chunked in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  };

  test.each(Object.entries(refused))('%s', (_, text) => {
    expect(() => read(text)).toThrow(ProtocolError);
    // However it arrives.
    expect(() => read(text, 'everywhere')).toThrow(ProtocolError);
  });

  test('a line beyond its limit, before its end has come', () => {
    const line = (length: number) => `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(length - 3)}`;
    expect(read(`${line(LIMITS.LINE_BYTES_MAX)}\r\n\r\n`).head.status).toBe(200);
    expect(() => read(`${line(LIMITS.LINE_BYTES_MAX + 1)}\r\n\r\n`)).toThrow(ProtocolError);
    expect(() => read(line(LIMITS.LINE_BYTES_MAX + 2))).toThrow(ProtocolError);
    expect(() => read('x'.repeat(LIMITS.LINE_BYTES_MAX + 2))).toThrow(ProtocolError);
  });

  test('a head beyond its limits', () => {
    const headers = (count: number, value: string) =>
      `HTTP/1.1 200 OK\r\n${`A: ${value}\r\n`.repeat(count)}\r\n`;
    expect(read(headers(LIMITS.HEADER_COUNT_MAX, 'x')).head.headers.length).toBe(
      LIMITS.HEADER_COUNT_MAX,
    );
    expect(() => read(headers(LIMITS.HEADER_COUNT_MAX + 1, 'x'))).toThrow(ProtocolError);
    expect(() => read(headers(10, 'x'.repeat(14_000)))).toThrow(ProtocolError);
  });
});

test('errors do not quote values', () => {
  const secret = 'HTTP/1.1 200 OK\r\nSet-Cookie: secret\x01\r\n\r\n';
  expect(() => read(secret)).toThrow(/^an invalid value of the header Set-Cookie$/);
});
