import { beforeAll, expect, it } from 'vitest';
import { defaultCertificate } from '../../local/tls/default-certificate.ts';
import { TlsServers } from '../../local/tls/tls-servers.ts';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { type Issued, newAuthority } from '../support/certificates.ts';
import { servedCertificate } from './support/served-certificate.ts';

// When a server is made, and how long it is kept.

let issued: readonly Issued[];
let servers: TlsServers;

beforeAll(async () => {
  const authority = await newAuthority();
  issued = await Promise.all(
    ['a.example', 'b.example'].map((it) => authority.issue({ names: [it] })),
  );
  const fallback = await defaultCertificate(null, Date.now());
  servers = new TlsServers({ fallback, onSecure: () => {}, report: () => {} });
});

/** Read anew, as after a change of a file that has them all. */
function certificate(index: number): Certificate {
  const found = issued[index];
  if (!found) throw new Error('there is none');
  return servedCertificate(found);
}

const present = (...indices: readonly number[]) =>
  servers.for({ choices: indices.map((it) => [certificate(it)]), policy: null });

it('is the same for the same certificates, through any number of changes in which it is used', () => {
  const [a, b] = [present(0), present(1)];
  expect(a).not.toBe(b);
  for (let i = 0; i < 5; i++) {
    servers.age();
    expect(present(0)).toBe(a);
  }
  expect(present(1)).not.toBe(b);
  expect(present()).toBe(present());
});

it('is another for another policy', () => {
  const policy = { verify: 'on', authorities: [issued[0]?.leaf ?? ''], depthMax: 1 } as const;
  const asking = (more: object) =>
    servers.for({ choices: [[certificate(0)]], policy: { ...policy, ...more } });
  expect(asking({})).not.toBe(present(0));
  // What the worker alone looks at makes no difference here.
  expect(asking({ depthMax: 9, authorities: [...policy.authorities] })).toBe(asking({}));
  expect(asking({ authorities: [issued[1]?.leaf ?? ''] })).not.toBe(asking({}));
});
