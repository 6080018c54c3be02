import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, test } from 'vitest';
import {
  type AddressClass,
  classifyAddress,
  isForbidden,
  isRefusedInProduction,
} from '../../snapshot/address.ts';

test.each<[AddressClass, string[]]>([
  ['public', ['8.8.8.8', '1.1.1.1', '2a01:4f8::1', '[2a01:4f8::1]', '::ffff:8.8.8.8', '8.8.8.8.']],
  ['private', ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fd12::1']],
  ['private', ['::ffff:10.0.0.1', '::ffff:a00:1', '64:ff9b::10.0.0.1', '10.1', '0xa.1', '012.1']],
  ['loopback', ['127.0.0.1', '127.1', '2130706433', '0x7f000001', '017700000001', '0177.0.0.1']],
  ['loopback', ['::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '127.0.0.1.', '0X7F.1', '::1%lo']],
  ['loopback', ['localhost', 'LOCALHOST', 'localhost.', 'a.localhost']],
  ['link-local', ['169.254.1.1', 'fe80::1', 'fe80::1%eth0', 'febf::1', '::ffff:169.254.0.1']],
  [
    'metadata',
    ['169.254.169.254', '0xa9fea9fe', '2852039166', '::ffff:a9fe:a9fe', 'fd00:ec2::254'],
  ],
  ['metadata', ['64:ff9b::a9fe:a9fe', '168.63.129.16', '100.100.100.200', 'fd20:ce::254']],
  ['metadata', ['metadata.google.internal', 'Metadata.Google.Internal.']],
  ['unspecified', ['0.0.0.0', '0', '0x0', '0x', '::', '0.1.2.3', '::ffff:0.0.0.0']],
  ['multicast', ['224.0.0.1', '239.255.255.255', '255.255.255.255', 'ff02::1']],
  [
    'reserved',
    ['192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1', '240.0.0.1', '192.0.0.1'],
  ],
  ['reserved', ['2001:db8::1', '2002:7f00:1::', '2001::1', '::127.0.0.1', '100::1', '4000::1']],
  ['cloudflare', ['104.16.0.1', '172.67.1.1', '131.0.72.1', '2606:4700::1111', '2a06:98c7::1']],
  ['cloudflare', ['::ffff:104.16.0.1', '173.245.63.255', '162.159.255.255', '188.114.111.255']],
  ['name', ['example.com', 'a', 'metadata.example.com', 'localhost.example.com', '1.2.3.4.5']],
  ['name', ['', '256.1.1.1', '1.2.3.256', '08.1.1.1', '.', 'example', '0xg', '1..2']],
  [
    'name',
    [
      '1::2::3',
      ':::',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '12345::',
      '::1.2.3',
      '::ffff:0x7f.0.0.1',
      '::ffff:0177.0.0.1',
    ],
  ],
])('%s: %j', (expected, hosts) => {
  for (const host of hosts) expect([host, classifyAddress(host)]).toEqual([host, expected]);
});

test('what is forbidden is refused in production too', () => {
  const forbidden: AddressClass[] = ['link-local', 'metadata', 'unspecified', 'multicast'];
  const refused: AddressClass[] = [...forbidden, 'private', 'loopback', 'reserved', 'cloudflare'];
  for (const one of ['public', 'name', ...refused] as const) {
    expect([one, isForbidden(one)]).toEqual([one, forbidden.includes(one)]);
    expect([one, isRefusedInProduction(one)]).toEqual([one, refused.includes(one)]);
  }
});

describe('against ipaddr.js', () => {
  /** What its ranges may be for us. Ours know metadata services and Cloudflare besides. */
  const CLASSES: Readonly<Record<string, readonly AddressClass[]>> = {
    unicast: ['public', 'cloudflare', 'metadata'],
    as112: ['public'],
    as112v6: ['public', 'reserved'],
    amt: ['public', 'reserved'],
    unspecified: ['unspecified'],
    broadcast: ['multicast'],
    multicast: ['multicast'],
    linkLocal: ['link-local', 'metadata'],
    loopback: ['loopback'],
    carrierGradeNat: ['private', 'metadata'],
    private: ['private'],
    uniqueLocal: ['private', 'metadata'],
    deprecatedSiteLocal: ['private'],
    reserved: ['reserved', 'metadata'],
  };
  const RESERVED: readonly AddressClass[] = ['reserved'];

  function expectedIpv4(address: ipaddr.IPv4): readonly AddressClass[] {
    return CLASSES[address.range()] ?? RESERVED;
  }

  function expectedIpv6(address: ipaddr.IPv6): readonly AddressClass[] {
    const bytes = address.toByteArray();
    const range = address.range();
    const isNat64 = address.match(ipaddr.IPv6.parseCIDR('64:ff9b::/96'));
    if (isNat64 || range === 'ipv4Mapped') return expectedIpv4(new ipaddr.IPv4(bytes.slice(12)));
    // To ipaddr.js all of the space that has not been given out is unicast.
    if (range === 'unicast' && ((bytes[0] ?? 0) & 0xe0) !== 0x20) return RESERVED;
    return CLASSES[range] ?? RESERVED;
  }

  function expectedOf(text: string): readonly AddressClass[] {
    if (ipaddr.IPv4.isValid(text)) return expectedIpv4(ipaddr.IPv4.parse(text));
    if (ipaddr.IPv6.isValid(text)) return expectedIpv6(ipaddr.IPv6.parse(text));
    return ['name'];
  }

  const prefixes4 = [0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 240, 255, 104, 162, 168];
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(0, 16, 31, 64, 127, 168, 169, 254, 255));
  const radix = fc.constantFrom(
    (value: number) => `${value}`,
    (value: number) => `0x${value.toString(16)}`,
    (value: number) => `0${value.toString(8)}`,
  );
  /** One to four parts, each in a radix of its own. */
  const ipv4 = fc
    .tuple(
      fc.oneof(byte, fc.constantFrom(...prefixes4)),
      byte,
      byte,
      byte,
      fc.array(radix, { minLength: 4, maxLength: 4 }),
      fc.integer({ min: 1, max: 4 }),
    )
    .map(([a, b, c, d, writers, partCount]) => {
      const all = [a, b, c, d];
      const last = all.slice(partCount - 1).reduce((sum, part) => sum * 256 + part, 0);
      const parts = [...all.slice(0, partCount - 1), last];
      return parts.map((part, index) => writers[index]?.(part) ?? '').join('.');
    });
  const group = fc.oneof(
    fc.constantFrom(
      0,
      0,
      1,
      0xffff,
      0xff9b,
      0x64,
      0x2001,
      0xdb8,
      0xfe80,
      0xfd00,
      0xec2,
      0x254,
      0x2606,
      0x4700,
    ),
    fc.nat(0xffff),
  );
  const ipv6 = fc
    .tuple(
      fc.array(group, { minLength: 6, maxLength: 9 }),
      fc.nat(8),
      fc.nat(3),
      fc.boolean(),
      fc.ipV4(),
    )
    .map(([groups, at, dropped, isCompressed, tail]) => {
      const texts = groups.map((value) => value.toString(16));
      if (isCompressed) texts.splice(at, dropped + 1, '');
      if (at % 3 === 0) texts.splice(-2, 2, tail);
      return texts
        .join(':')
        .replace(/^:(?!:)/, '::')
        .replace(/([^:]):$/, '$1::');
    });

  test('the same texts are addresses, of the same kind', () => {
    let addressCount = 0;
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6, fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), (text) => {
        // RFC 4291 section 2.5.5.1: an address of its own. ipaddr.js takes it for a mapped one.
        fc.pre(!/^::[0-9]+\./.test(text));
        const expected = expectedOf(text);
        if (expected[0] !== 'name') addressCount += 1;
        expect(expected).toContain(classifyAddress(text));
      }),
      { numRuns: 20_000 },
    );
    expect(addressCount).toBeGreaterThan(10_000);
  });
});
