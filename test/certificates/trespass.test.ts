import { beforeAll, expect, test } from 'vitest';
import { Trespasses } from '../../syncer/certificates/trespass.ts';
import { type Authority, newAuthority, tlsSecret } from '../support/certificates.ts';
import { type Asking, compiledAt, tlsIngress } from '../support/tls-ingress.ts';

// Cloudflare serves a certificate for all of its names: whose hosts would one of a Secret serve?

let authority: Authority;
beforeAll(async () => {
  authority = await newAuthority();
});

/** For each Secret `namespace/tls` with a certificate for `names`, the host that it may not serve. */
async function trespasses(
  asking: readonly Asking[],
  secrets: Readonly<Record<string, readonly string[]>>,
) {
  const made = await Promise.all(
    Object.entries(secrets).map(async ([namespace, names]) =>
      tlsSecret(namespace, 'tls', await authority.issue({ names })),
    ),
  );
  return found([...asking.map(tlsIngress), ...made]);
}

function found(objects: readonly object[]) {
  const compilation = compiledAt(Date.now(), objects);
  const all = new Trespasses(compilation);
  return Object.fromEntries(
    compilation.tls.claims.flatMap(({ certificate }) => {
      if (!certificate) return [];
      const trespass = all.of(certificate);
      const { namespace } = certificate.secret;
      return [[namespace, trespass && `${trespass.hostname} of ${trespass.owner}`]];
    }),
  );
}

const asks = (namespace: string, host: string, day: number, isTls = true): Asking => ({
  namespace,
  hosts: [host],
  tls: isTls ? [{ hosts: [host], secretName: 'tls' }] : [],
  day,
});

test('hosts of its own namespace, and names that nobody claims', async () => {
  const asking = [asks('a', 'a.example.com', 1), asks('b', 'b.example.com', 2)];
  const names = ['a.example.com', 'other.example.com', '*.a.example.com'];
  expect(await trespasses(asking, { a: names, b: ['b.example.com'] })).toEqual({
    a: null,
    b: null,
  });
});

test('a host that another namespace claimed before, by its name and below a wildcard', async () => {
  const asking = [asks('a', 'a.example.com', 1, false), asks('b', 'b.example.com', 2)];
  const both = await trespasses(asking, { b: ['b.example.com', 'a.example.com'] });
  expect(both).toEqual({ b: 'a.example.com of a' });
  const wildcard = await trespasses(asking, { b: ['*.example.com'] });
  expect(wildcard).toEqual({ b: 'a.example.com of a' });
});

test('a host that another namespace serves by a wildcard, and those below it that it asked for', async () => {
  const asking = [asks('a', '*.example.com', 1), asks('b', 'b.example.org', 2)];
  const names = ['b.example.org', 'x.example.com'];
  expect(await trespasses(asking, { b: names })).toEqual({ b: '*.example.com of a' });
  const own = [...asking, asks('b', 'x.example.com', 3, false)];
  expect(await trespasses(own, { b: names })).toEqual({ b: null });
  expect(
    await trespasses(
      [...asking].reverse().map((it, day) => ({ ...it, day: day + 1 })),
      { b: names },
    ),
  ).toEqual({ b: null });
});

test('a host that another namespace asked for in spec.tls alone', async () => {
  const tls = [{ hosts: ['x.example.com'], secretName: 'tls' }];
  const asking = [{ ...asks('a', 'a.example.com', 1), tls }, asks('b', 'b.example.com', 2)];
  const both = { a: ['x.example.com'], b: ['b.example.com', 'x.example.com'] };
  expect(await trespasses(asking, both)).toEqual({ a: null, b: 'x.example.com of a' });
});

test('a host that another namespace claims later takes nothing away', async () => {
  const asking = [asks('b', 'b.example.com', 1), asks('a', 'a.example.com', 2)];
  const wildcards = { a: ['*.example.com'], b: ['*.example.com'] };
  // Both would serve all; the one of the later namespace is the trespasser.
  expect(await trespasses(asking, wildcards)).toEqual({ b: null, a: 'b.example.com of b' });
});

test('a host whose own namespace has the very same certificate', async () => {
  const issued = await authority.issue({ names: ['*.example.com'] });
  const objects = [
    tlsIngress(asks('a', 'a.example.com', 1)),
    tlsIngress(asks('b', 'b.example.com', 2)),
    tlsSecret('a', 'tls', issued),
    tlsSecret('b', 'tls', issued),
  ];
  expect(found(objects)).toEqual({ a: null, b: null });
});
