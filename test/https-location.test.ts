import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normaliseHost } from '../snapshot/hostname.ts';
import { httpsLocation } from '../worker/https-location.ts';
import { parseRequestUrl } from '../worker/request-url.ts';

function location(url: string, port = 443): string | null {
  const parsed = parseRequestUrl(url);
  if (!parsed) throw new Error(`${url} is no URL`);
  return httpsLocation(normaliseHost(parsed.authority), parsed, port);
}

test.each([
  ['http://a.example/', 'https://a.example/'],
  ['http://A.Example./x', 'https://a.example/x'],
  ['http://a.example:8787/x?y=1&y=2', 'https://a.example/x?y=1&y=2'],
  ['http://a.example?y', 'https://a.example/?y'],
  ['http://a.example/%61%2F//b;c=d/?', 'https://a.example/%61%2F//b;c=d/?'],
  ['http://a.example/a/../b', 'https://a.example/b'],
  ['http://a.example//evil.example/', 'https://a.example//evil.example/'],
  ['http://a_b.example/', 'https://a_b.example/'],
  ['http://192.0.2.1:80/', 'https://192.0.2.1/'],
  ['http://[2001:DB8::1]:80/x', 'https://[2001:db8::1]/x'],
  // What a browser would take for user and password is no part of the host that was matched.
  ['http://a.example:80@evil.example/', 'https://a.example/'],
])('%s is at %s', (url, wanted) => {
  expect(location(url)).toBe(wanted);
});

test.each([
  ['http://a.example/', 'https://a.example:8443/'],
  ['http://a.example:443/', 'https://a.example:8443/'],
  ['http://[::1]:80/', 'https://[::1]:8443/'],
])('with another port %s is at %s', (url, wanted) => {
  expect(location(url, 8443)).toBe(wanted);
});

test.each([
  'http://evil.example@a.example/',
  'http://a.example%2F.evil.example/',
  'http://a.example\\.evil.example/',
  'http://[::1/',
  'http://[fe80::1%25eth0]/',
  'http://a example/',
  'http://\u00e4.example/',
  'http://:80/',
])('%s is nowhere', (url) => {
  expect(location(url)).toBeNull();
});

describe('whatever is asked for', () => {
  const authority = fc.oneof(
    fc.domain(),
    fc.webAuthority({ withPort: true, withUserInfo: true, withIPv4: true, withIPv6: true }),
    fc.string({ unit: fc.constantFrom(...'a.:@[]%\\-_~!1\u00e4 \r\n"<'), minLength: 1 }),
  );
  const path = fc.string({
    unit: fc.constantFrom(...'/a.%2eF;?=&@:#\\\r\n\t \u00e4"<\u2028'.split('')),
  });

  test('browsers go to the host that was matched, by https, and to its path', () => {
    fc.assert(
      fc.property(authority, path, (host, rest) => {
        const parsed = parseRequestUrl(`http://${host}/${rest}`);
        if (!parsed) return;
        const matched = normaliseHost(parsed.authority);
        const found = httpsLocation(matched, parsed, 8443);
        if (found === null) return;
        // What a header may hold, RFC 9110 section 5.5, without blanks.
        expect(found).toMatch(/^[\x21-\x7e]+$/);
        const { pathname, search } = new URL(`http://host${parsed.path}${parsed.search}`);
        // Some names are no hosts of a URL, such as a number that is too large for an address.
        if (!URL.canParse(found)) return;
        const url = new URL(found);
        expect([url.protocol, url.port, url.username, url.hash]).toEqual([
          'https:',
          '8443',
          '',
          '',
        ]);
        const wanted = matched.includes(':') ? `[${matched}]` : matched;
        expect(url.hostname).toBe(new URL(`https://${wanted}`).hostname);
        expect([url.pathname, url.search]).toEqual([pathname, search]);
        expect(found.slice(found.lastIndexOf(':8443') + 5)).toBe(parsed.path + parsed.search);
      }),
      { numRuns: 2_000 },
    );
  });
});
