import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { normaliseHost } from '../snapshot/hostname.ts';
import { tlsClientAuth } from './tls/client-certificate.ts';

/** What the worker is told of the connection that a request came on. */
export interface ClientConnection {
  readonly scheme: 'http' | 'https';
  /** IP address. */
  readonly address: string;
  /** `request.cf` as JSON of ASCII alone, since it travels in a header. */
  readonly cf: string;
}

export interface ConnectionOptions {
  readonly httpProtocol: string;
  /** Of the handshake; empty without one. */
  readonly serverName: string;
  /** PEM, the authorities that clients of this server name are held against. */
  readonly authorities: readonly string[];
}

export function clientConnection(
  socket: Socket,
  { httpProtocol, serverName, authorities }: ConnectionOptions,
): ClientConnection {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  if (!(socket instanceof TLSSocket)) {
    return { scheme: 'http', address, cf: asciiJson({ httpProtocol }) };
  }
  const tlsServerName = normaliseHost(serverName);
  const facts = {
    httpProtocol,
    tlsVersion: socket.getProtocol(),
    tlsCipher: cipherName(socket.getCipher().name),
    ...(tlsServerName !== '' && { tlsServerName }),
    tlsClientAuth: tlsClientAuth(socket, authorities),
  };
  return { scheme: 'https', address, cf: asciiJson(facts) };
}

/** Production's names are BoringSSL's, which has those of TLS 1.3 in the style of the older ones. */
function cipherName(name: string): string {
  const [, algorithm, rest] = /^TLS_(AES_\d+|CHACHA20)_(.+)$/.exec(name) ?? [];
  if (algorithm === undefined || rest === undefined) return name;
  return `AEAD-${algorithm.replace('_', '')}-${rest.replaceAll('_', '-')}`;
}

function asciiJson(facts: object): string {
  return JSON.stringify(facts).replace(
    /[\u007f-\uffff]/g,
    (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
