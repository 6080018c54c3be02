import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { serverNameIn } from './client-hello.ts';
import { type Presentation, ServerNames, type TlsState } from './server-names.ts';
import { HANDSHAKE_MS, TlsServers, type TlsServersOptions } from './tls-servers.ts';

/** Does handshakes on connections that somebody else accepts. */
export class TlsListener {
  readonly #servers: TlsServers;
  readonly #begun = Promise.withResolvers<void>();
  #names = new ServerNames({ certificates: new Map(), virtualHosts: [] });
  /** By which name a connection was given its server, by the address of the client. */
  readonly #read = new Map<string, string>();

  constructor({ onSecure, ...options }: TlsServersOptions) {
    this.#servers = new TlsServers({
      ...options,
      onSecure: (socket) => {
        // Bytes that can be read in two ways: the client was asked what another host wants to know.
        if (this.#read.get(clientOf(socket)) !== serverNameOf(socket)) socket.destroy();
        else onSecure(socket);
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
    socket.on('close', () => this.#read.delete(client));
    const name = await readServerName(socket);
    await this.#begun.promise;
    if (name === null || socket.destroyed) return;
    this.#read.set(client, name);
    this.#servers.for(this.find(name)).emit('connection', socket);
  }
}

function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Empty where the client named none. */
export function serverNameOf(socket: TLSSocket): string {
  const { servername } = socket as { readonly servername?: string | false | null };
  return servername || '';
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
