import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChunkedDecoder } from '../../worker/http1/chunked-decoder.ts';
import { ChunkedEncoder, LAST_CHUNK } from '../../worker/http1/chunked-encoder.ts';
import { LIMITS } from '../../worker/http1/limits.ts';
import { ProtocolError } from '../../worker/http1/protocol-error.ts';
import { type Cuts, cuts, latin1, split, textOf } from './support/bytes.ts';

function decode(text: string, at: Cuts = []): { body: string; isDone: boolean } {
  const decoder = new ChunkedDecoder();
  let body = '';
  for (const piece of split(latin1(text), at)) body += textOf(decoder.decode(piece));
  return { body, isDone: decoder.isDone };
}

test('what the encoder writes, the decoder reads, however it arrives', () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 });
  fc.assert(
    fc.property(chunks, cuts, (contents, at) => {
      const encoder = new ChunkedEncoder();
      const chunks = contents.map((content) => encoder.encode(content).slice());
      const wire = Buffer.concat([...chunks, LAST_CHUNK]);
      const expected = { body: textOf(Buffer.concat(contents)), isDone: true };
      expect(decode(textOf(wire), at)).toEqual(expected);
    }),
  );
});

test('extensions and trailers are skipped', () => {
  const text = '5;a;b=c;d="e\\";\xff"\r\nhello\r\n0;x\r\nTrailer: yes\r\nOther:\r\n\r\nleft';
  fc.assert(
    fc.property(cuts, (at) => {
      expect(decode(text, at)).toEqual({ body: 'hello', isDone: true });
    }),
  );
});

test('sizes are hexadecimal in either case, with leading zeros', () => {
  expect(decode(`0000A\r\n${'x'.repeat(10)}\r\n0a\r\n${'y'.repeat(10)}\r\n000\r\n\r\n`)).toEqual({
    body: 'x'.repeat(10) + 'y'.repeat(10),
    isDone: true,
  });
});

test('a chunk within one read is a view of it', () => {
  const bytes = latin1('5\r\nhello\r\n');
  expect(new ChunkedDecoder().decode(bytes).buffer).toBe(bytes.buffer);
});

test('a body that stops before its end is not done', () => {
  const text = '5\r\nhello\r\n0\r\nA: b\r\n\r\n';
  for (let end = 0; end < text.length; end++) expect(decode(text.slice(0, end)).isDone).toBe(false);
  expect(decode(text).isDone).toBe(true);
});

describe('refuses', () => {
  const refused: Readonly<Record<string, string>> = {
    'no size': '\r\nhello\r\n',
    'a size that is none': 'g\r\n',
    'a prefixed size': '0x5\r\nhello\r\n',
    'a signed size': '+5\r\nhello\r\n',
    'a negative size': '-5\r\nhello\r\n',
    'a space before the size': ' 5\r\nhello\r\n',
    'a space behind the size': '5 \r\nhello\r\n',
    'a space before an extension': '5 ;a\r\nhello\r\n',
    'an underscore in the size': '1_0\r\nhello\r\n',
    'a size that is too large': '1000000000000\r\n',
    'a size of too many digits': `${'0'.repeat(13)}5\r\nhello\r\n`,
    'an extension without a name': '5;\r\nhello\r\n',
    'an extension without its end quote': '5;a="b\r\nhello\r\n',
    'a control character in an extension': '5;a=\x01\r\nhello\r\n',
    'a bare CR in an extension': '5;a\rb\r\nhello\r\n',
    'a bare LF after the size': '5\nhello\r\n',
    'a bare LF after the data': '5\r\nhello\n',
    'a bare CR after the data': '5\r\nhello\rx',
    'more data than the size': '5\r\nhello!\r\n',
    'a bare LF after the last chunk': '0\n\n',
    'a bare LF after the trailers': '0\r\nA: b\r\n\n',
    'a folded trailer': '0\r\nA: b\r\n c\r\n\r\n',
    'an invalid trailer': '0\r\nA b\r\n\r\n',
  };
  test.each(Object.entries(refused))('%s', (_, text) => {
    expect(() => decode(text)).toThrow(ProtocolError);
    expect(() =>
      decode(
        text,
        Array.from(text, (_, index) => index),
      ),
    ).toThrow(ProtocolError);
  });

  test('extensions and trailers beyond their limits', () => {
    const chunk = `1;a=${'x'.repeat(1020)}\r\n-\r\n`;
    const isFine = LIMITS.CHUNK_EXTENSION_BYTES_MAX / 1024;
    expect(decode(chunk.repeat(isFine - 1)).isDone).toBe(false);
    expect(() => decode(chunk.repeat(isFine + 1))).toThrow(ProtocolError);
    const trailer = `A: ${'x'.repeat(1020)}\r\n`;
    expect(() => decode(`0\r\n${trailer.repeat(17)}`)).toThrow(ProtocolError);
  });
});
