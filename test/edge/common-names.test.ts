import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { valueIn } from '../support/message.ts';
import { type Rig, startRig } from '../support/rig.ts';
import { snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { clientAuth, sendToWorker } from '../support/worker-request.ts';

const PATTERNS = {
  'plain.example': 'alice',
  'either.example': 'alice|bob',
  'group.example': '(?i)team-[a-z]+',
  'anchored.example': '^alice$',
  'anything.example': '.*',
  'broken.example': '(',
  'slow.example': '(a+)+b',
} as const;

describe('a pattern for common names', () => {
  let rig: Rig;
  let upstream: Upstream;
  let root: Authority;

  beforeAll(async () => {
    root = await newAuthority('Root');
    upstream = await Upstream.start(answering(ok('served')));
    rig = await startRig();
    const modes = ['optional', 'optional_no_ca'] as const;
    const hosts = [...Object.keys(PATTERNS), ...modes.map((it) => `${it}.example`)];
    const paths = { '/': upstream.port };
    const settings = (commonName: string, verify: ClientCertificatePolicy['verify'] = 'on') => {
      const authorities = [root.pem];
      return { clientCertificates: { verify, authorities, depthMax: 1, commonName } };
    };
    await rig.publish(
      withSettings(snapshotOf(Object.fromEntries(hosts.map((host) => [host, paths]))), {
        ...Object.fromEntries(
          Object.entries(PATTERNS).map(([host, pattern]) => [host, settings(pattern)]),
        ),
        ...Object.fromEntries(modes.map((it) => [`${it}.example`, settings('alice', it)])),
      }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  async function status(host: string, commonName: string, facts: object = {}): Promise<number> {
    const issued = await root.issue({ names: ['alice'], commonName, client: true });
    const cf = { tlsClientAuth: clientAuth(issued, facts) };
    const response = await sendToWorker(rig, { host, cf });
    if (response.status === 403) {
      expect(upstream.dials).toBe(0);
      const line = await rig.log.line(valueIn(response, 'x-request-id') ?? 'no id');
      expect(JSON.parse(line).cause).toBe('client certificate: another common name');
    }
    return response.status;
  }

  it.each([
    ['plain.example', 'alice'],
    ['either.example', 'alice'],
    ['either.example', 'bob'],
    ['group.example', 'TEAM-x'],
    ['anchored.example', 'alice'],
    ['anything.example', 'J\u00fcrgen'],
    ['slow.example', 'aaab'],
    // Whichever of several an upstream goes by, it matches.
    ['plain.example', 'alice,CN=alice'],
    ['either.example', 'alice,CN=bob'],
  ])('of %s lets in %s', async (host, commonName) => {
    expect(await status(host, commonName)).toBe(200);
  });

  it.each([
    ['plain.example', 'bob'],
    ['plain.example', 'Alice'],
    ['plain.example', 'alice.evil'],
    ['plain.example', 'malice'],
    ['plain.example', 'alice,O=x,CN=bob'],
    ['plain.example', 'bob,CN=alice'],
    // Matching the name of one of the host names is no use, and neither is having no name.
    ['plain.example', 'x,O=alice'],
    ['either.example', 'alice|bob'],
    ['either.example', 'xbob'],
    ['either.example', 'alicex'],
    ['group.example', 'team-1'],
    ['anything.example', ''],
    ['broken.example', '('],
    ['broken.example', 'alice'],
  ])('of %s does not let in %s', async (host, commonName) => {
    expect(await status(host, commonName)).toBe(403);
  });

  it('takes time in step with the name and no more, and a name of 256 characters at most', async () => {
    expect(await status('slow.example', 'a'.repeat(256))).toBe(403);
    expect(await status('slow.example', `${'a'.repeat(255)}b`)).toBe(200);
    upstream.clear();
    expect(await status('slow.example', `${'a'.repeat(256)}b`)).toBe(403);
  });

  it('is for all who come: without a certificate nobody matches', async () => {
    const cf = { tlsClientAuth: { certPresented: '0', certVerified: 'NONE' } };
    for (const host of ['optional.example', 'optional_no_ca.example']) {
      expect((await sendToWorker(rig, { host, cf })).status).toBe(403);
      expect(await status(host, 'bob')).toBe(403);
      expect(await status(host, 'alice')).toBe(200);
      upstream.clear();
    }
  });

  it('is held against whatever is shown, and that may be anything', async () => {
    const { leaf } = await root.issue({ names: [], commonName: 'alice', client: true });
    const { raw } = new X509Certificate(leaf);
    const facts = { certPresented: '1', certVerified: 'FAILED:certificate signature failure' };
    const change = fc.tuple(fc.nat(raw.length - 1), fc.integer({ min: 1, max: 255 }));
    const answered = fc.asyncProperty(fc.array(change, { maxLength: 3 }), async (changes) => {
      const bytes = Buffer.from(raw);
      for (const [at, mask] of changes) bytes[at] = (bytes[at] ?? 0) ^ mask;
      const tlsClientAuth = { ...facts, certRFC9440: `:${bytes.toString('base64')}:` };
      const request = { host: 'optional_no_ca.example', cf: { tlsClientAuth } };
      const { status } = await sendToWorker(rig, request);
      expect([200, 403]).toContain(status);
      if (changes.length === 0) expect(status).toBe(200);
    });
    await fc.assert(answered, { numRuns: 500 });
  });

  it('is held against certificates that were not verified, where all are let in', async () => {
    const facts = { certVerified: 'FAILED:self signed certificate' };
    expect(await status('optional_no_ca.example', 'bob', facts)).toBe(403);
    expect(await status('optional_no_ca.example', 'alice', facts)).toBe(200);
    expect(valueIn(upstream.request, 'ssl-client-verify')).toMatch(/^FAILED:/);
  });
});
