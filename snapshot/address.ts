/**
 * What kind of place an address is. The syncer says with it which endpoints the edge cannot reach,
 * the worker refuses with it to dial them; both must read an address alike, so the reading is here.
 */
export type AddressClass =
  | 'public'
  | 'private'
  | 'loopback'
  | 'link-local'
  | 'metadata'
  | 'unspecified'
  | 'multicast'
  | 'reserved'
  | 'cloudflare'
  | 'name';

/**
 * `host` is an address (IPv6 with or without brackets) or a DNS name. IPv4 is read as inet_aton
 * and the URL standard read it, so `127.1`, `0x7f.1` and `2130706433` are all 127.0.0.1: what a
 * resolver down the line would make of it is what counts.
 */
export function classifyAddress(host: string): AddressClass {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  if (bare.includes(':')) {
    const groups = parseIpv6(bare);
    return groups === null ? 'name' : classifyIpv6(groups);
  }
  const name = (bare.endsWith('.') ? bare.slice(0, -1) : bare).toLowerCase();
  const address = parseIpv4(name);
  if (address !== null) return classifyIpv4(address);
  if (name === 'localhost' || name.endsWith('.localhost')) return 'loopback';
  return METADATA_NAMES.has(name) ? 'metadata' : 'name';
}

/** Never dialled, anywhere: no backend of anyone's lives there. */
export function isForbidden(addressClass: AddressClass): boolean {
  return FORBIDDEN.has(addressClass);
}

/** Never dialled by a worker on Cloudflare, whichever dialer it has. */
export function isForbiddenInProduction(addressClass: AddressClass): boolean {
  return isForbidden(addressClass) || addressClass === 'loopback' || addressClass === 'cloudflare';
}

/** What Cloudflare's `connect()` would refuse, or could not reach. */
export function isRefusedInProduction(addressClass: AddressClass): boolean {
  return addressClass !== 'public' && addressClass !== 'name';
}

const FORBIDDEN: ReadonlySet<AddressClass> = new Set([
  'link-local',
  'metadata',
  'unspecified',
  'multicast',
]);

/** `metadata.google.internal` and its short form lead to credentials, like 169.254.169.254. */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);

/** A range of addresses: the first bits that its members share. Groups are of 16 bits. */
interface Range {
  readonly groups: readonly number[];
  readonly bits: number;
  readonly addressClass: AddressClass;
}

/**
 * IANA's IPv4 Special-Purpose Address Registry, and the metadata services of AWS (with ECS and
 * EKS), Azure, Alibaba and Oracle. The first range that holds an address decides.
 */
const IPV4_SPECIAL: readonly Range[] = [
  ...ranges('metadata', [
    '169.254.169.254/32',
    '169.254.170.2/32',
    '169.254.170.23/32',
    '168.63.129.16/32',
    '100.100.100.200/32',
    '192.0.0.192/32',
  ]),
  ...ranges('unspecified', ['0.0.0.0/8']),
  ...ranges('loopback', ['127.0.0.0/8']),
  ...ranges('link-local', ['169.254.0.0/16']),
  // 100.64.0.0/10 is shared between carriers and their customers (RFC 6598): not routed either.
  ...ranges('private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']),
  // The limited broadcast address goes to many, as multicast does.
  ...ranges('multicast', ['224.0.0.0/4', '255.255.255.255/32']),
  ...ranges('reserved', [
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.88.99.0/24',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '240.0.0.0/4',
  ]),
];

/** IANA's IPv6 Special-Purpose Address Registry, and the metadata services of AWS and Google. */
const IPV6_SPECIAL: readonly Range[] = [
  ...ranges('metadata', ['fd00:ec2::254/128', 'fd00:ec2::23/128', 'fd20:ce::254/128']),
  ...ranges('unspecified', ['::/128']),
  ...ranges('loopback', ['::1/128']),
  ...ranges('link-local', ['fe80::/10']),
  ...ranges('private', ['fc00::/7', 'fec0::/10']),
  ...ranges('multicast', ['ff00::/8']),
  ...ranges('reserved', ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']),
];

/** Only 2000::/3 has been given out for use on the Internet (RFC 4291 section 2.4, IANA). */
const IPV6_UNICAST: readonly Range[] = ranges('public', ['2000::/3']);

/**
 * IPv4 addresses in IPv6 clothes: mapped (RFC 4291 section 2.5.5.2) and translated by NAT64 (RFC
 * 6052 section 2.1). They are what they wear, or 64:ff9b::a9fe:a9fe would get past us.
 */
const IPV4_IN_IPV6: readonly Range[] = ranges('public', ['::ffff:0:0/96', '64:ff9b::/96']);

/** https://www.cloudflare.com/ips-v4, the list of September 2023 (unchanged for years). */
export const CLOUDFLARE_IPV4_CIDRS = [
  '173.245.48.0/20',
  '103.21.244.0/22',
  '103.22.200.0/22',
  '103.31.4.0/22',
  '141.101.64.0/18',
  '108.162.192.0/18',
  '190.93.240.0/20',
  '188.114.96.0/20',
  '197.234.240.0/22',
  '198.41.128.0/17',
  '162.158.0.0/15',
  '104.16.0.0/13',
  '104.24.0.0/14',
  '172.64.0.0/13',
  '131.0.72.0/22',
] as const;
const CLOUDFLARE_IPV4 = ranges('cloudflare', CLOUDFLARE_IPV4_CIDRS);

/** https://www.cloudflare.com/ips-v6, the list of September 2023. */
export const CLOUDFLARE_IPV6_CIDRS = [
  '2400:cb00::/32',
  '2606:4700::/32',
  '2803:f800::/32',
  '2405:b500::/32',
  '2405:8100::/32',
  '2a06:98c0::/29',
  '2c0f:f248::/32',
] as const;
const CLOUDFLARE_IPV6 = ranges('cloudflare', CLOUDFLARE_IPV6_CIDRS);

function classifyIpv4(address: readonly number[]): AddressClass {
  return classOf(address, IPV4_SPECIAL) ?? classOf(address, CLOUDFLARE_IPV4) ?? 'public';
}

function classifyIpv6(groups: readonly number[]): AddressClass {
  if (classOf(groups, IPV4_IN_IPV6) !== null) return classifyIpv4(groups.slice(6));
  const special = classOf(groups, IPV6_SPECIAL) ?? classOf(groups, CLOUDFLARE_IPV6);
  return special ?? classOf(groups, IPV6_UNICAST) ?? 'reserved';
}

function classOf(groups: readonly number[], ranges: readonly Range[]): AddressClass | null {
  return ranges.find((range) => isWithin(groups, range))?.addressClass ?? null;
}

function isWithin(groups: readonly number[], range: Range): boolean {
  for (let index = 0, left = range.bits; left > 0; index++, left -= 16) {
    const ignoredBits = Math.max(0, 16 - left);
    if ((groups[index] ?? 0) >> ignoredBits !== (range.groups[index] ?? 0) >> ignoredBits) {
      return false;
    }
  }
  return true;
}

function ranges(addressClass: AddressClass, cidrs: readonly string[]): readonly Range[] {
  return cidrs.map((cidr) => {
    const [address = '', bits] = cidr.split('/');
    const groups = address.includes(':') ? parseIpv6(address) : parseIpv4(address);
    if (groups === null) throw new Error(`not a range: ${cidr}`);
    return { groups, bits: Number(bits), addressClass };
  });
}

/** inet_aton(3): one to four numbers, decimal, octal or hexadecimal; the last fills what is left. */
function parseIpv4(text: string): readonly number[] | null {
  const parts = text.split('.');
  if (parts.length > 4) return null;
  let address = 0;
  for (const [index, part] of parts.entries()) {
    const number = parseIpv4Number(part);
    const isLast = index === parts.length - 1;
    const bytes = isLast ? 4 - index : 1;
    if (number === null || number >= 256 ** bytes) return null;
    address += number * 256 ** (4 - index - bytes);
  }
  return [Math.floor(address / 65_536), address % 65_536];
}

function parseIpv4Number(text: string): number | null {
  // The URL standard reads a lone "0x" as zero; inet_aton does not read it at all.
  if (/^0x[0-9a-f]*$/i.test(text)) return Number.parseInt(text.slice(2) || '0', 16);
  if (/^0[0-7]*$/.test(text)) return Number.parseInt(text, 8);
  return /^[1-9][0-9]*$/.test(text) ? Number(text) : null;
}

/** RFC 4291 section 2.2, with an IPv4 tail or not; a zone (RFC 4007 section 11) plays no part. */
function parseIpv6(text: string): readonly number[] | null {
  const address = text.replace(/%.*$/s, '');
  const halves = address.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0] ?? '');
  const tail = parseGroups(halves[1] ?? '');
  if (head === null || tail === null) return null;
  // An IPv4 tail must be the tail of the whole.
  if (halves.length === 2 && (halves[0] ?? '').includes('.')) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1) return missing === 0 ? head : null;
  return missing > 0 ? [...head, ...new Array<number>(missing).fill(0), ...tail] : null;
}

/** As inet_pton(3) takes it: within IPv6 there are no other spellings. */
const DOTTED_QUAD = /^(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}$/;

function parseGroups(text: string): readonly number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else if (index === parts.length - 1 && DOTTED_QUAD.test(part)) {
      const ipv4 = parseIpv4(part);
      if (ipv4 === null) return null;
      groups.push(...ipv4);
    } else {
      return null;
    }
  }
  return groups;
}
