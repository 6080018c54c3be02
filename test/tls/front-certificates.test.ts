import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { SecretText } from '../../syncer/secret-text.ts';
import { type Authority, type Issued, newAuthority } from '../support/certificates.ts';
import { headText } from '../support/rig.ts';
import { command, handshake, opensslClient, sendTls, shownTo } from '../support/tls-client.ts';
import { Wire } from '../support/wire.ts';
import { type Probe, startProbe } from './support/probe.ts';
import { servedCertificate, tlsState } from './support/served-certificate.ts';

// Which certificate a client is shown in its handshake.

let probe: Probe;
let port: number;
let root: Authority;
let intermediate: Authority;
let other: Authority;
let issued: Record<'own' | 'wildcard' | 'rsa' | 'ecdsa', Issued>;

beforeAll(async () => {
  probe = await startProbe();
  port = probe.front.httpsPort;
  root = await newAuthority('Root');
  intermediate = await (await root.intermediate('Outer')).intermediate('Inner');
  other = await root.intermediate('Other');
  issued = {
    own: await intermediate.issue({ names: ['own.example.com'] }),
    wildcard: await root.issue({ names: ['*.example.com'] }),
    // Two chains, so that the certificates of one host are seen to keep their own.
    rsa: await intermediate.issue({ names: ['both.example'], keyType: 'rsa' }),
    ecdsa: await other.issue({ names: ['both.example'] }),
  };
});

afterAll(() => probe?.[Symbol.asyncDispose]());

const served = (name: keyof typeof issued) => servedCertificate(issued[name]);

beforeEach(() => {
  const own = [served('own')];
  const both = [served('rsa'), served('ecdsa')];
  probe.front.present(
    tlsState({
      'own.example.com': own,
      '*.example.com': [served('wildcard')],
      'both.example': both,
    }),
  );
});

describe('a client', () => {
  it('is shown the certificate of the name it asks for, before a wildcard, before the default', async () => {
    expect(await shownTo(port, 'own.example.com')).toBe(issued.own.fingerprint);
    expect(await shownTo(port, 'any.example.com')).toBe(issued.wildcard.fingerprint);
    const fallback = await shownTo(port, 'nobody.example');
    expect(Object.values(issued).map((it) => it.fingerprint)).not.toContain(fallback);
    expect(await shownTo(port, 'example.com')).toBe(fallback);
    expect(await shownTo(port, '')).toBe(fallback);
  });

  it('that trusts the root alone trusts a chain with intermediates', async () => {
    const ca = root.pem;
    const socket = await handshake(port, 'own.example.com', { ca });
    expect(socket.authorized).toBe(true);
    socket.destroy();
    await expect(handshake(port, 'nobody.example', { ca })).rejects.toThrow('self-signed');
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'of %s gets RSA or ECDSA as its signature algorithms say, each with its chain',
    async (version) => {
      const only = (sigalgs: string) => ({
        ca: root.pem,
        sigalgs,
        minVersion: version,
        maxVersion: version,
      });
      const shown = (sigalgs: string) => shownTo(port, 'both.example', only(sigalgs));
      expect(await shown('RSA-PSS+SHA256')).toBe(issued.rsa.fingerprint);
      expect(await shown('ECDSA+SHA256')).toBe(issued.ecdsa.fingerprint);
    },
  );

  it('is refused with TLS 1.1', async () => {
    const weak = ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'];
    const answer = await opensslClient(port, 'own.example.com', ...weak);
    expect(answer).toMatch(/alert protocol version|no protocols available/);
    expect(answer).toContain('no peer certificate available');
    expect(await opensslClient(port, 'own.example.com', '-tls1_2')).toContain('New, TLSv1.2');
  });

  it('verifies what curl and openssl verify', async () => {
    const verified = await opensslClient(port, 'own.example.com', '-verify_hostname', 'x.example');
    expect(verified).toMatch(/hostname mismatch|unable to get local issuer/);
    const url = `https://any.example.com:${port}/`;
    const to = ['--resolve', `any.example.com:${port}:127.0.0.1`];
    expect((await command('curl', ['-sS', ...to, url])).code).toBe(60);
  });
});

describe('a renewed certificate', () => {
  it('is shown from then on, while a connection that is open goes on', async () => {
    const socket = await handshake(port, 'own.example.com');
    const wire = new Wire(socket);
    const half = 'POST / HTTP/1.1\r\nHost: own.example.com\r\nContent-Length: 10\r\n\r\n12345';
    wire.write(half);
    const renewed = await intermediate.issue({ names: ['own.example.com'] });
    probe.front.present(tlsState({ 'own.example.com': [servedCertificate(renewed)] }));
    expect(await shownTo(port, 'own.example.com')).toBe(renewed.fingerprint);
    wire.write('67890');
    expect(await wire.line()).toBe('HTTP/1.1 200 OK');
    wire.destroy();
  });

  it('is what the same certificate with another chain is, too', async () => {
    const longer = { ...issued.wildcard, certificate: issued.wildcard.leaf + other.pem };
    const chainLength = async () => {
      const text = await opensslClient(port, 'any.example.com', '-showcerts');
      return text.match(/BEGIN CERTIFICATE/g)?.length;
    };
    expect(await chainLength()).toBe(1);
    probe.front.present(tlsState({ '*.example.com': [servedCertificate(longer)] }));
    expect(await chainLength()).toBe(2);
  });
});

describe('a certificate that OpenSSL refuses', () => {
  /** Too weak for it; the syncer lets no such one through, but OpenSSL may know better than it. */
  async function refused(name: string): Promise<Certificate> {
    const weak = await root.issue({ names: [name], keyType: 'rsa1024' });
    return {
      ...served('own'),
      keyType: 'rsa',
      chain: weak.certificate,
      privateKey: new SecretText(weak.privateKey),
      names: [name],
    };
  }

  it('leaves the other of its host, or the next that covers it, and is told once', async () => {
    const bad = await refused('own.example.com');
    const state = (own: readonly Certificate[]) =>
      tlsState({ 'own.example.com': own, '*.example.com': [served('wildcard')] });
    const before = probe.reports.length;
    probe.front.present(state([bad, served('own')]));
    expect(await shownTo(port, 'own.example.com')).toBe(issued.own.fingerprint);
    probe.front.present(state([bad]));
    expect(await shownTo(port, 'own.example.com')).toBe(issued.wildcard.fingerprint);
    expect(await shownTo(port, 'own.example.com')).toBe(issued.wildcard.fingerprint);
    expect(probe.reports.slice(before)).toEqual([
      'OpenSSL refuses the certificate of Secret test/tls: ERR_SSL_EE_KEY_TOO_SMALL',
    ]);
  });

  it('leaves the default certificate, and the other hosts as they are', async () => {
    const bad = await refused('bad.example');
    probe.front.present(tlsState({ 'bad.example': [bad], '*.example.com': [served('wildcard')] }));
    expect(await shownTo(port, 'bad.example')).toBe(await shownTo(port, 'nobody.example'));
    expect(await shownTo(port, 'a.example.com')).toBe(issued.wildcard.fingerprint);
  });
});

describe('what is no handshake', () => {
  it.each([
    ['plain HTTP', 'GET / HTTP/1.1\r\nHost: own.example.com\r\n\r\n'],
    ['garbage', '\x16\x03\x01\xff\xff'.padEnd(70_000, 'x')],
    ['a hello that breaks off', '\x16\x03\x01\x02\x00\x01'],
  ])('ends with its connection: %s', async (_, bytes) => {
    const wire = await Wire.dial(port);
    wire.end(bytes);
    await wire.rest();
    await wire.closed;
    expect((await sendTls(port, { host: 'own.example.com' })).status).toBe(200);
  });

  it('but a hello too long to be read ends with its connection as well', async () => {
    const ALPNProtocols = ['http/1.1'];
    while (ALPNProtocols.length < 200) ALPNProtocols.push('x'.repeat(255));
    const wire = new Wire(await handshake(port, 'own.example.com', { ALPNProtocols }));
    wire.write(headText({ host: 'own.example.com' }));
    expect((await wire.rest()).toString()).toBe('');
  });

  it('ends with its connection when it takes too long', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const wire = await Wire.dial(port);
      wire.write('\x16\x03\x01\x02');
      while (vi.getTimerCount() === 0) await new Promise(setImmediate);
      vi.advanceTimersByTime(10_000);
      expect((await wire.rest()).toString()).toBe('');
      wire.destroy();
    } finally {
      vi.useRealTimers();
    }
  });

  it('does not hold up others when it says nothing', async () => {
    const silent = await Promise.all(Array.from({ length: 100 }, () => Wire.dial(port)));
    expect((await sendTls(port, { host: 'own.example.com' })).status).toBe(200);
    for (const wire of silent) wire.reset();
    await Promise.all(silent.map((it) => it.closed));
  });
});

it('1,000 hosts have a certificate each, made ready when somebody asks for it', async () => {
  const base = served('own');
  const certificates: Record<string, Certificate[]> = {};
  for (let i = 0; i < 1000; i++) {
    const name = `host-${i}.example`;
    // A chain of its own for each, by a comment in the PEM.
    certificates[name] = [{ ...base, names: [name], chain: `# ${i}\n${base.chain}` }];
  }
  probe.front.present(tlsState(certificates));
  const sockets = await Promise.all(
    Array.from({ length: 50 }, (_, i) => handshake(port, `host-${i * 20}.example`)),
  );
  for (const socket of sockets) {
    expect(socket.getPeerX509Certificate()?.subject).toBe('CN=own.example.com');
    socket.destroy();
    await once(socket, 'close');
  }
});
