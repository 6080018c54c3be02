import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { ServerCertificate } from './default-certificate.ts';
import { SecureContexts } from './secure-contexts.ts';
import { type Presentation, ServerNames, type TlsState } from './server-names.ts';

export interface TlsListenerOptions {
  /** For names that no other certificate covers. */
  readonly fallback: ServerCertificate;
  /** Gets each connection on which the handshake was done. */
  readonly onSecure: (socket: TLSSocket) => void;
  /** Hears, in words without key bytes, of certificates that OpenSSL refuses. */
  readonly report: (message: string) => void;
}

/** How long a client may take over its handshake. */
const HANDSHAKE_MS = 10_000;

/**
 * Does handshakes on connections that somebody else accepts. Never rejects a client for the
 * certificate that it shows or does not show: the worker does, with an answer that can be read.
 *
 * Whether clients are asked for a certificate is a property of a server and not of a name
 * (`requestCert`). So there are two, and the one that asks serves for as long as some host wants it;
 * the other hosts' clients are asked for a certificate of an authority that has issued none.
 */
export class TlsListener {
  readonly #contexts: SecureContexts;
  readonly #plain: Server;
  readonly #asking: Server;
  #names: ServerNames | null = null;
  /** Connections from before anything was known. */
  #waiting: Socket[] = [];

  constructor({ fallback, onSecure, report }: TlsListenerOptions) {
    this.#contexts = new SecureContexts(fallback, report);
    const server = (ofItsKind: TlsOptions) =>
      createServer({
        ...ofItsKind,
        ...this.#contexts.optionsFor(NAMELESS),
        rejectUnauthorized: false,
        ALPNProtocols: ['h2', 'http/1.1'],
        handshakeTimeout: HANDSHAKE_MS,
        SNICallback: (name, callback) => callback(null, this.#contexts.for(this.find(name))),
      })
        .on('secureConnection', onSecure)
        // A client without TLS, one that trusts nobody, one that stalls: nobody to answer.
        .on('tlsClientError', (_, socket) => socket.destroy());
    this.#plain = server({});
    this.#asking = server(ASKING);
  }

  /** From now on handshakes are done with these; they begin with the first. */
  present(state: TlsState): void {
    this.#names = new ServerNames(state);
    this.#contexts.age();
    // The only host that a client without a server name can mean as far as we know.
    this.#asking.setSecureContext({ ...this.#contexts.optionsFor(this.find('')), ...ASKING });
    for (const socket of this.#waiting.splice(0)) this.accept(socket);
  }

  /** How this server name is presented now. */
  find(name: string): Presentation {
    return this.#names?.find(name) ?? NAMELESS;
  }

  /** A connection on which nothing was read. */
  accept(socket: Socket): void {
    if (!this.#names) {
      this.#waiting.push(socket.on('error', () => socket.destroy()));
      return;
    }
    (this.#names.asksClients ? this.#asking : this.#plain).emit('connection', socket);
  }
}

const NAMELESS: Presentation = { choices: [], policy: null };

/**
 * A session that is resumed brings along what was found of a certificate when it began: by
 * authorities that may have changed since, and without the certificates that led to them.
 */
const ASKING: TlsOptions = { requestCert: true, secureOptions: constants.SSL_OP_NO_TICKET };
