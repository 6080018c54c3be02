import { constants, hash } from 'node:crypto';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { describeRef } from '../../syncer/kubernetes/objects.ts';
import type { ServerCertificate } from './default-certificate.ts';
import { keepPeerCertificates } from './peer-certificates.ts';
import type { Presentation } from './server-names.ts';

export interface TlsServersOptions {
  /** Where no other certificate can be shown. */
  readonly fallback: ServerCertificate;
  /** Gets each connection on which the handshake was done. */
  readonly onSecure: (socket: TLSSocket) => void;
  /** Hears, in words without key bytes, of certificates that OpenSSL refuses. */
  readonly report: (message: string) => void;
}

/** How long a client may take over its handshake. */
export const HANDSHAKE_MS = 10_000;

/**
 * A server of Node for each way in which a name is presented. None listens: they do handshakes on
 * connections that they are given. Each is made when the first handshake needs it, so that one
 * host's renewal costs the others nothing, and kept as long as it is used between one change and
 * the next but one.
 *
 * One server that chooses a context by its `SNICallback` would not do. Node takes a single
 * certificate from that context and leaves those of other key types as they were, so that most
 * clients would be shown the default one for a host with RSA; and it asks either all clients for a
 * certificate of theirs or none.
 */
export class TlsServers {
  readonly #options: TlsServersOptions;
  #recent = new Map<string, Server | null>();
  #older = new Map<string, Server | null>();

  constructor(options: TlsServersOptions) {
    this.#options = options;
  }

  /** Something has changed: what was not used since the change before is forgotten. */
  age(): void {
    this.#older = this.#recent;
    this.#recent = new Map();
  }

  /** With the first choice that OpenSSL takes, or else the default certificate. */
  for({ choices, policy }: Presentation): Server {
    for (const certificates of choices) {
      const server = this.#together(certificates, policy);
      if (server) return server;
    }
    return this.#kept(identity([], policy), () => this.#make([this.#options.fallback], policy));
  }

  /** All of them side by side: the client's signature algorithms decide. */
  #together(
    certificates: readonly Certificate[],
    policy: ClientCertificatePolicy | null,
  ): Server | null {
    const make = (shown: readonly Certificate[]) =>
      this.#kept(identity(shown, policy), () => {
        try {
          return this.#make(shown, policy);
        } catch (error) {
          for (const it of shown.length === 1 ? shown : []) this.#refused(it, error);
          return null;
        }
      });
    const server = make(certificates);
    if (server || certificates.length < 2) return server;
    const usable = certificates.filter((it) => make([it]) !== null);
    return usable.length > 0 ? make(usable) : null;
  }

  #make(
    certificates: readonly ServerCertificate[],
    policy: ClientCertificatePolicy | null,
  ): Server {
    const server = createServer({
      cert: certificates.map((it) => it.chain),
      key: certificates.map((it) => it.privateKey.reveal()),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: HANDSHAKE_MS,
      ...(policy ? this.#asking(policy) : { ca: [] }),
    });
    if (policy) keepPeerCertificates(server);
    server.on('secureConnection', this.#options.onSecure);
    // A client without TLS, one that trusts nobody, one that stalls: nobody to answer.
    server.on('tlsClientError', (_, socket) => socket.destroy());
    return server;
  }

  /**
   * Never rejects a client for the certificate that it shows or does not show: the worker does, with
   * an answer that can be read.
   */
  #asking({ authorities, verify }: ClientCertificatePolicy): TlsOptions {
    // A browser asks its user where it has a certificate that fits: there is none of an authority
    // that has issued nothing, while no authority at all would mean any.
    const isAnybody = verify === 'optional_no_ca' || authorities.length > 0;
    return {
      requestCert: true,
      rejectUnauthorized: false,
      ca: isAnybody ? [...authorities] : [this.#options.fallback.chain],
      // A session that is resumed brings along what was found of a certificate when it began, and
      // not the certificates that led from it to the authority.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }

  #kept<T extends Server | null>(key: string, make: () => T): T {
    const holder = [this.#recent, this.#older].find((it) => it.has(key));
    // A key stands for what it was made of, and so for what this would make.
    const server = holder ? (holder.get(key) as T) : make();
    this.#recent.set(key, server);
    return server;
  }

  #refused({ secret }: Certificate, error: unknown): void {
    // Its message is not ours, and could quote what it was given.
    const { code } = error as { readonly code?: string };
    const what = `OpenSSL refuses the certificate of ${describeRef(secret)}`;
    this.#options.report(`${what}: ${code ?? 'no code'}`);
  }
}

const identities = new WeakMap<object, string>();

/** Equal for equal contents, which a file that is read again brings as other objects. */
function identity(
  certificates: readonly Certificate[],
  policy: ClientCertificatePolicy | null,
): string {
  const parts = certificates.map((it) => remembered(it, () => it.chain));
  if (!policy) return parts.join(' ');
  const { verify, authorities } = policy;
  return [...parts, verify, remembered(authorities, () => authorities.join('\n'))].join(' ');
}

function remembered(object: object, text: () => string): string {
  const known = identities.get(object);
  if (known !== undefined) return known;
  const made = hash('sha256', text());
  identities.set(object, made);
  return made;
}
