import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { connect } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import {
  AuthorityKeyIdentifierExtension,
  PemConverter,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import { type Authority, type Issued, newAuthority } from '../support/certificates.ts';
import { headText, send } from '../support/rig.ts';
import { handshake, opensslClient, sendTls } from '../support/tls-client.ts';
import { Wire } from '../support/wire.ts';
import { type Probe, startProbe, type Told } from './support/probe.ts';

// What the worker is told of a connection and of the certificate that its client showed.

let probe: Probe;
let port: number;
let clients: Authority;
let middle: Authority;
let issued: Issued;
let direct: Issued;
let deep: Issued;

const policy = (
  verify: ClientCertificatePolicy['verify'],
  ...authorities: readonly string[]
): ClientCertificatePolicy => ({ verify, authorities, depthMax: 1 });

beforeAll(async () => {
  probe = await startProbe();
  port = probe.front.httpsPort;
  clients = await newAuthority('Clients');
  middle = await clients.intermediate('Middle');
  const names = ['client'];
  issued = await middle.issue({ names, commonName: 'Jürgen\\, x/y\\+1', client: true });
  direct = await clients.issue({ names, commonName: 'direct', client: true, keyType: 'rsa' });
  deep = await (await middle.intermediate('Deep')).issue({ names, client: true });
  const owner = 'test';
  probe.front.present({
    certificates: new Map(),
    virtualHosts: [
      { hostname: 'open.example', owner },
      { hostname: 'mtls.example', owner, clientCertificates: policy('on', clients.pem) },
      { hostname: 'middle.example', owner, clientCertificates: policy('on', middle.pem) },
      { hostname: 'closed.example', owner, clientCertificates: policy('on') },
      { hostname: 'any.example', owner, clientCertificates: policy('optional_no_ca') },
    ],
  });
});

afterAll(() => probe?.[Symbol.asyncDispose]());

const shown = ({ certificate, privateKey }: Issued) => ({ cert: certificate, key: privateKey });

async function told(host: string, options: object = {}): Promise<Told> {
  const { body } = await sendTls(port, { host }, options);
  return JSON.parse(String(body));
}

describe('the worker is told', () => {
  it('of a connection without TLS its protocol and no more', async () => {
    const { body } = await send(probe.front.port, { host: 'open.example' });
    const { url, cf, headers }: Told = JSON.parse(String(body));
    expect(url).toBe('http://open.example/');
    expect(cf).toEqual({ httpProtocol: 'HTTP/1.1' });
    expect(headers['cf-connecting-ip']).toBe('127.0.0.1');
  });

  it.each([
    ['TLSv1.3', 'TLS_AES_128_GCM_SHA256', 'AEAD-AES128-GCM-SHA256'],
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256', 'AEAD-CHACHA20-POLY1305-SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ] as const)('%s with %s as production does', async (version, ciphers, name) => {
    const only = { ciphers, maxVersion: version, minVersion: version };
    const { url, cf } = await told('open.example', only);
    expect(url).toBe('https://open.example/');
    expect(cf).toMatchObject({
      httpProtocol: 'HTTP/1.1',
      tlsVersion: version,
      tlsCipher: name,
      tlsServerName: 'open.example',
      tlsClientAuth: { certPresented: '0', certVerified: 'NONE', certRFC9440: '' },
    });
  });

  it('the server name of the connection, whatever the host of the request is', async () => {
    const wire = new Wire(await handshake(port, 'OPEN.example'));
    wire.write(headText({ host: 'other.example', headers: ['Connection: close'] }));
    expect((await wire.rest()).toString()).toContain('"tlsServerName":"open.example"');
    const nameless = new Wire(await handshake(port, ''));
    nameless.write(headText({ host: 'other.example', headers: ['Connection: close'] }));
    expect((await nameless.rest()).toString()).not.toContain('tlsServerName');
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'the server name of a session that is resumed as well: %s',
    async (maxVersion) => {
      const first = new Wire(await handshake(port, 'open.example', { maxVersion }));
      let session: Buffer | undefined;
      first.socket.on('session', (it) => {
        session = it;
      });
      first.write(headText({ host: 'open.example' }));
      await first.rest();
      session ??= (first.socket as TLSSocket).getSession();
      const resumed = { maxVersion, ...(session && { session }) };
      const other = await handshake(port, 'other.example', resumed);
      expect(other.isSessionReused()).toBe(false);
      other.destroy();
      const socket = await handshake(port, 'open.example', resumed);
      expect(socket.isSessionReused()).toBe(true);
      const wire = new Wire(socket);
      wire.write(headText({ host: 'open.example' }));
      expect((await wire.rest()).toString()).toContain('"tlsServerName":"open.example"');
    },
  );

  it('nothing that a client says of itself, however it spells it', async () => {
    const lie = JSON.stringify({ tlsClientAuth: { certVerified: 'SUCCESS' } });
    const names = ['MF-CF-Blob', 'mf-cf-blob', 'Mf-Original-URL', 'CF-Ray', 'cf-ipcountry'];
    const headers = names.map((name) => `${name}: ${lie}`);
    for (const answer of [
      await send(probe.front.port, { headers }),
      await sendTls(port, { headers }),
    ]) {
      expect(answer.status).toBe(200);
      const { cf, headers: got }: Told = JSON.parse(String(answer.body));
      expect(JSON.stringify(cf)).not.toContain('SUCCESS');
      expect(Object.keys(got).filter((it) => /^(mf|cf)-/.test(it))).toEqual(['cf-connecting-ip']);
    }
    const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const own = Object.fromEntries(names.map((name) => [name.toLowerCase(), lie]));
    const stream = session.request({ ':path': '/', ':authority': 'a.example', ...own });
    let body = '';
    for await (const chunk of stream.setEncoding('utf8')) body += chunk;
    expect(body).not.toContain('SUCCESS');
    expect(JSON.parse(body).cf).toMatchObject({ httpProtocol: 'HTTP/2' });
    session.close();
  });
});

describe('a client with a certificate', () => {
  it('is told of as production tells of it', async () => {
    const { cf } = await told('mtls.example', shown(issued));
    const leaf = new X509Certificate(issued.leaf);
    const base64 = (pem: string) => `:${new X509Certificate(pem).raw.toString('base64')}:`;
    expect(cf.tlsClientAuth).toEqual({
      certPresented: '1',
      certVerified: 'SUCCESS',
      certRevoked: '0',
      certSubjectDN: 'CN=J\\C3\\BCrgen\\, x/y\\+1',
      certIssuerDN: 'CN=Middle',
      certSubjectDNRFC2253: 'CN=J\\C3\\BCrgen\\, x/y\\+1',
      certIssuerDNRFC2253: 'CN=Middle',
      certSubjectDNLegacy: '/CN=J\\xC3\\xBCrgen, x/y+1',
      certIssuerDNLegacy: '/CN=Middle',
      certSerial: leaf.serialNumber,
      certIssuerSerial: new X509Certificate(middle.pem).serialNumber,
      certFingerprintSHA256: issued.fingerprint,
      certFingerprintSHA1: leaf.fingerprint.replaceAll(':', '').toLowerCase(),
      certNotBefore: leaf.validFrom,
      certNotAfter: leaf.validTo,
      certSKI: '',
      certIssuerSKI: '',
      certRFC9440: base64(issued.leaf),
      certRFC9440TooLarge: false,
      certChainRFC9440: base64(middle.pem),
      certChainRFC9440TooLarge: false,
    });
  });

  it.each([
    ['that leads to the authority itself', () => direct, 'mtls.example', 'SUCCESS', 0],
    ['with two in between', () => deep, 'mtls.example', 'SUCCESS', 2],
    ['of an authority that is no root', () => deep, 'middle.example', /./, 1],
    ['of another authority', () => issued, 'closed.example', /^FAILED:/, 1],
    ['where any is taken', () => issued, 'any.example', /^FAILED:unable to/, 1],
  ] as const)('%s is told of with what it sent along', async (_, own, host, verified, sent) => {
    const { tlsClientAuth } = (await told(host, shown(own()))).cf;
    expect(tlsClientAuth.certPresented).toBe('1');
    expect(tlsClientAuth.certVerified).toMatch(verified);
    const chain = String(tlsClientAuth.certChainRFC9440).split(', ').filter(Boolean);
    expect(chain).toHaveLength(sent);
  });

  it('shows it over HTTP/2 as well', async () => {
    const options = { servername: 'mtls.example', rejectUnauthorized: false, ...shown(issued) };
    const session = connect(`https://127.0.0.1:${port}`, options);
    const stream = session.request({ ':path': '/', ':authority': 'mtls.example' });
    let body = '';
    for await (const chunk of stream.setEncoding('utf8')) body += chunk;
    const { tlsClientAuth }: Told['cf'] = JSON.parse(body).cf;
    expect(tlsClientAuth).toEqual((await told('mtls.example', shown(issued))).cf.tlsClientAuth);
    expect(tlsClientAuth.certVerified).toBe('SUCCESS');
    session.close();
  });

  it('is told of with its key identifiers, where it has some', async () => {
    const { cf } = await told('any.example', await withKeyIdentifiers());
    expect(cf.tlsClientAuth).toMatchObject({
      certSKI: '0102030405060708090A0B0C0D0E0F1011121314',
      certIssuerSKI: 'A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4',
    });
  });

  it('that has expired is told of so', async () => {
    const notAfter = new Date(Date.now() - 1000);
    const old = await clients.issue({ names: ['old'], client: true, notAfter });
    const { tlsClientAuth } = (await told('mtls.example', shown(old))).cf;
    expect(tlsClientAuth.certVerified).toBe('FAILED:certificate has expired');
  });

  it('is not asked for it by a host without a policy', async () => {
    const { tlsClientAuth } = (await told('open.example', shown(issued))).cf;
    expect(tlsClientAuth.certPresented).toBe('0');
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'does a whole handshake each time: %s',
    async (version) => {
      const options = { ...shown(issued), maxVersion: version };
      const first = await handshake(port, 'mtls.example', options);
      const wire = new Wire(first);
      let session: Buffer | undefined;
      first.on('session', (it) => {
        session = it;
      });
      wire.write(headText({ host: 'mtls.example' }));
      await wire.rest();
      const again = await handshake(port, 'mtls.example', {
        ...options,
        ...(session && { session }),
      });
      expect(again.isSessionReused()).toBe(false);
      again.destroy();
    },
  );
});

/** Which the certificates of `newAuthority` have not. */
async function withKeyIdentifiers(): Promise<{ readonly cert: string; readonly key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=identified',
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new SubjectKeyIdentifierExtension('0102030405060708090a0b0c0d0e0f1011121314'),
      new AuthorityKeyIdentifierExtension('a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4'),
    ],
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { cert: certificate.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') };
}

describe('whom a host asks for', () => {
  const names = async (host: string) => {
    const text = await opensslClient(port, host);
    expect(text).toContain('BEGIN CERTIFICATE');
    if (text.includes('No client certificate CA names sent')) return 'nobody in particular';
    return /Acceptable client certificate CA names\n(.*?)\nRequested/s.exec(text)?.[1];
  };

  it('is its authorities, or anybody where anybody will do', async () => {
    expect(await names('mtls.example')).toBe('CN = Clients');
    expect(await names('middle.example')).toBe('CN = Middle');
    expect(await names('any.example')).toBe('nobody in particular');
    expect(await opensslClient(port, 'any.example')).toContain('Requested Signature Algorithms');
  });

  it('is nobody that there is, where there is no authority', async () => {
    expect(await names('closed.example')).toBe('CN = Causeway default certificate');
  });

  it('is not said by a host without a policy, for it does not ask', async () => {
    expect(await opensslClient(port, 'open.example')).not.toContain(
      'Requested Signature Algorithms',
    );
    expect(await opensslClient(port, 'mtls.example')).toContain('Requested Signature Algorithms');
  });
});
