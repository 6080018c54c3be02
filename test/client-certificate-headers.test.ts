import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { headerName } from '../worker/tls/distinguished-name.ts';
import { escapedPem, intermediatesOf } from '../worker/tls/presented-certificate.ts';
import { newAuthority } from './support/certificates.ts';

/** Reads one attribute value of RFC 2253 (section 3) byte by byte: what is escaped, and what is not. */
function unescaped(value: string): string {
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  const characters = [...value];
  for (let i = 0; i < characters.length; i++) {
    const char = characters[i] ?? '';
    const next = characters[i + 1] ?? '';
    const pair = next + (characters[i + 2] ?? '');
    if (char !== '\\') bytes.push(...encoder.encode(char));
    else if (/^[0-9A-Fa-f]{2}$/.test(pair)) {
      bytes.push(Number.parseInt(pair, 16));
      i += 2;
    } else {
      bytes.push(...encoder.encode(next));
      i += 1;
    }
  }
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
}

/** As RFC 2253 section 2.4 demands, and no more: anything else stays as it is. */
function escaped(value: string): string {
  const characters = [...value];
  const isAtEnd = (char: string, i: number) =>
    (char === ' ' && (i === 0 || i === characters.length - 1)) || (char === '#' && i === 0);
  return characters
    .map((char, i) => (/[\\",+<>;]/.test(char) || isAtEnd(char, i) ? `\\${char}` : char))
    .join('');
}

describe('a distinguished name', () => {
  test.each([
    ['CN=alice,OU=a\\, b,O=c', 'CN=alice,OU=a\\, b,O=c'],
    ['CN=caf\u00e9', 'CN=caf\\C3\\A9'],
    ['CN=\u{1f600}', 'CN=\\F0\\9F\\98\\80'],
    ['CN=a\r\nX-Admin: 1', 'CN=a\\0D\\0AX-Admin: 1'],
    ['CN=a\\\r\nb', 'CN=a\\0D\\0Ab'],
    ['CN=a\\\\\nb', 'CN=a\\\\\\0Ab'],
    ['CN=a\u0000', 'CN=a\\00'],
    ['CN=a\\ ', 'CN=a\\20'],
    ['CN=a\\\\ ', 'CN=a\\\\\\20'],
    ['CN=a b', 'CN=a b'],
    ['\u007f', '\\7F'],
    ['', ''],
  ])('%j is %j in a header', (name, wanted) => {
    expect(headerName(name)).toBe(wanted);
  });

  test('is a value that a header can hold, and says the same', () => {
    const value = fc.string({ unit: 'binary' }).filter((it) => it.isWellFormed());
    const special = fc.string({ unit: fc.constantFrom(...'a0F\\"+,;<>=# \r\n\t\u0000\u00e9') });
    fc.assert(
      fc.property(fc.oneof(value, special), (name) => {
        const header = headerName(`CN=${escaped(name)}`);
        expect(header).toMatch(/^[\x20-\x7e]+$/);
        expect(header.trim()).toBe(header);
        expect(unescaped(header)).toBe(`CN=${name}`);
      }),
      { numRuns: 2_000 },
    );
  });

  test('that was not well-formed is still a value that a header can hold', () => {
    const junk = fc.string({ unit: fc.constantFrom(...'\\ a\ud800\udc00\n\u0085') });
    fc.assert(
      fc.property(junk, (name) => {
        const header = headerName(name);
        expect(header).toMatch(/^[\x20-\x7e]*$/);
        expect(header.trim()).toBe(header);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a certificate for the upstream', () => {
  test('is the PEM that OpenSSL writes, once it is decoded', async () => {
    const { leaf } = await (await newAuthority()).issue({ names: ['a.example'], keyType: 'rsa' });
    const { raw } = new X509Certificate(leaf);
    const header = escapedPem(raw.toString('base64'));
    const pem = decodeURIComponent(header);
    expect(pem).toBe(new X509Certificate(leaf).toString());
    expect(new X509Certificate(pem).raw.equals(raw)).toBe(true);
  });

  test('is unreserved characters and escapes only, whatever its bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
        const header = escapedPem(Buffer.from(bytes).toString('base64'));
        expect(header).toMatch(/^(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+$/);
        const lines = decodeURIComponent(header).split('\n');
        expect(lines.every((line) => line.length <= 64)).toBe(true);
        const body = lines.filter((line) => !line.startsWith('-----')).join('');
        expect(Buffer.from(body, 'base64').equals(Buffer.from(bytes))).toBe(true);
      }),
    );
  });
});

test('the certificates of a chain are those that were written, and what is none is none', () => {
  const junk = fc.constantFrom('', ' ', ':', '::', ':a b:', ':=:', 'AAAA', ':AAAA', ':AAAA:;x=1');
  const member = fc.oneof(
    junk.map((text) => ({ text, read: [] as string[] })),
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => {
      const base64 = Buffer.from(bytes).toString('base64');
      return { text: `:${base64}:`, read: [base64] };
    }),
  );
  fc.assert(
    fc.property(fc.array(member), fc.constantFrom(',', ', ', ' ,'), (members, separator) => {
      const chain = members.map(({ text }) => text).join(separator);
      expect(intermediatesOf(chain)).toEqual(members.flatMap(({ read }) => read));
    }),
  );
});
