import { X509Certificate } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { waitFor } from './wait.ts';

const TIMEOUT_MS = 10_000;

/** What a TLS client learns of a server before it says anything. */
export interface Handshake {
  /** SHA-256 of the certificate, lower-case hexadecimal. */
  readonly fingerprint: string;
  /** As in `DNS:a.example.com, DNS:b.example.com`. */
  readonly names: string;
  /** Why a client that trusts `ca` alone would refuse, or `null` when it would not. */
  readonly refusal: string | null;
}

/** Shakes hands by this name and hangs up. @param ca PEM of the only authority that is trusted. */
export async function shakeHands(port: number, name: string, ca: string): Promise<Handshake> {
  const socket = await connected(port, name, ca);
  const certificate = socket.getPeerX509Certificate();
  const refusal = socket.authorizationError;
  socket.destroy();
  if (!certificate) throw new Error('the server showed no certificate');
  return {
    fingerprint: hex(certificate.fingerprint256),
    names: certificate.subjectAltName ?? '',
    refusal: refusal ? String(refusal) : null,
  };
}

/**
 * Shakes hands again and again until the server shows this certificate, and is trusted with it.
 * @param certificate PEM, the certificate itself first.
 */
export async function untilShown(
  port: number,
  name: string,
  certificate: string,
  ca: string,
): Promise<Handshake> {
  const fingerprint = fingerprintOf(certificate);
  const isShown = async () => {
    const handshake = await shakeHands(port, name, ca);
    return handshake.fingerprint === fingerprint && handshake;
  };
  const handshake = await waitFor(`the certificate of ${name}`, isShown, { intervalMs: 5 });
  if (handshake.refusal !== null) throw new Error(`${name}: ${handshake.refusal}`);
  return handshake;
}

/** Of the first certificate in a PEM. */
function fingerprintOf(certificate: string): string {
  return hex(new X509Certificate(certificate).fingerprint256);
}

function hex(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}

function connected(port: number, servername: string, ca: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const trust = { ca, rejectUnauthorized: false };
    const socket = connect({ host: '127.0.0.1', port, servername, ...trust });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('the handshake takes too long')));
    socket.once('error', reject);
    socket.once('secureConnect', () => resolve(socket));
  });
}
