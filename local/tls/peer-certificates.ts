import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, Server, TLSSocket } from 'node:tls';

/** On the socket itself: that of an HTTP/2 session is reached through a proxy, another object. */
const SHOWN = Symbol('certificates shown');

type Showing = TLSSocket & { [SHOWN]?: readonly X509Certificate[] };

/**
 * Keeps what the clients of a server show in their handshakes. It has to be read before Node looks at
 * it: where the certificate was verified, `getPeerX509Certificate` takes the others out of the chain
 * as it reads them, and Node calls it on its own (24.21, `onServerSocketSecure`).
 */
export function keepPeerCertificates(server: Server): void {
  // The keys are not looked at. This event is the one that names a connection before its handshake
  // is done.
  server.on('keylog', (_, socket: Showing) => {
    if (socket[SHOWN]) return;
    socket[SHOWN] = [];
    socket.prependOnceListener('secure', () => {
      socket[SHOWN] = certificatesFrom(socket.getPeerCertificate(true));
    });
  });
}

/**
 * The client's certificate and those that lead from it to a root, as far as they are known: those
 * that it sent, and then those that we have. Empty for a client that showed none.
 */
export function peerCertificates(socket: Showing): readonly X509Certificate[] {
  return socket[SHOWN] ?? [];
}

function certificatesFrom(leaf: DetailedPeerCertificate): readonly X509Certificate[] {
  const found: X509Certificate[] = [];
  // Without a certificate this is an empty object, and a root is its own issuer.
  for (let it: DetailedPeerCertificate | undefined = leaf; it?.raw; ) {
    found.push(new X509Certificate(it.raw));
    it = it.issuerCertificate === it ? undefined : it.issuerCertificate;
  }
  return found;
}
