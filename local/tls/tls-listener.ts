import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { serverNameIn } from './client-hello.ts';
import { type Presentation, ServerNames, type TlsState } from './server-names.ts';
import { HANDSHAKE_MS, TlsServers, type TlsServersOptions } from './tls-servers.ts';

export interface TlsListenerOptions extends Pick<TlsServersOptions, 'fallback' | 'report'> {
  /** Gets each connection on which the handshake was done, and its server name: empty for none. */
  readonly onSecure: (socket: TLSSocket, serverName: string) => void;
}

/** Does handshakes on connections that somebody else accepts. */
export class TlsListener {
  readonly #servers: TlsServers;
  readonly #begun = Promise.withResolvers<void>();
  #names = new ServerNames({ certificates: new Map(), virtualHosts: [] });
  /** By which name a connection was given its server, by the address of the client. */
  readonly #read = new Map<string, { readonly name: string; readonly socket: Socket }>();

  constructor({ onSecure, ...options }: TlsListenerOptions) {
    this.#servers = new TlsServers({
      ...options,
      onSecure: (socket) => {
        const name = this.#read.get(clientOf(socket))?.name;
        if (name === undefined || !isNamed(socket, name)) socket.destroy();
        else onSecure(socket, name);
      },
    });
  }

  /** From now on handshakes are done with these; they begin with the first. */
  present(state: TlsState): void {
    this.#names = new ServerNames(state);
    this.#servers.age();
    this.#begun.resolve();
  }

  /** How this server name is presented now. */
  find(name: string): Presentation {
    return this.#names.find(name);
  }

  /** A connection on which nothing was read. */
  async accept(socket: Socket): Promise<void> {
    const client = clientOf(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      // The client may have come again from the same port before we heard of the end.
      if (this.#read.get(client)?.socket === socket) this.#read.delete(client);
    });
    const name = await readServerName(socket);
    await this.#begun.promise;
    if (name === null || socket.destroyed) return;
    this.#read.set(client, { name, socket });
    this.#servers.for(this.find(name)).emit('connection', socket);
  }
}

function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/**
 * Whether OpenSSL has read the name that we have. Of a session of TLS 1.2 that is resumed it tells
 * Node none, having seen to it that it is the name for which the session began.
 */
function isNamed(socket: TLSSocket, name: string): boolean {
  const { servername } = socket as { readonly servername?: string | false | null };
  return (servername || '') === name || (!servername && socket.isSessionReused());
}

/** Leaves the bytes where they were. Null for a connection that ended before it had said it. */
function readServerName(socket: Socket): Promise<string | null> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    const done = (name: string | null) => {
      clearTimeout(timer);
      socket.off('data', read).off('end', end).off('close', end);
      resolve(name);
    };
    const read = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const name = serverNameIn(bytes);
      if (name === null) return;
      socket.pause();
      socket.unshift(bytes);
      done(name);
    };
    const end = () => {
      socket.destroy();
      done(null);
    };
    socket.on('data', read).on('end', end).on('close', end);
  });
}
