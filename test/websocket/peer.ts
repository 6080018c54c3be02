import type { WebSocket } from 'ws';
import type { Close } from '../../worker/websocket/close.ts';

/** One end of a WebSocket, spoken by ws, of which nothing that arrives is missed. */
export class Peer {
  readonly socket: WebSocket;
  readonly closed: Promise<Close>;
  readonly #arrived: Event[] = [];
  readonly #awaited: ((event: Event) => void)[] = [];

  constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
    });
    socket.on('message', (data, isBinary) => {
      this.#arrive(isBinary ? (data as Buffer) : String(data));
    });
    socket.on('pong', (data) => this.#arrive({ pong: String(data) }));
    socket.on('ping', (data) => this.#arrive({ ping: String(data) }));
    // A connection that breaks is also closed, with 1006.
    socket.on('error', () => {});
  }

  /** The next message (text as a string, binary as a Buffer), ping or pong. */
  next(): Promise<Event> {
    const event = this.#arrived.shift();
    if (event !== undefined) return Promise.resolve(event);
    return new Promise((resolve) => this.#awaited.push(resolve));
  }

  async take(count: number): Promise<Event[]> {
    const events: Event[] = [];
    while (events.length < count) events.push(await this.next());
    return events;
  }

  #arrive(event: Event): void {
    const awaited = this.#awaited.shift();
    if (awaited) awaited(event);
    else this.#arrived.push(event);
  }
}

type Event = string | Buffer | { readonly pong: string } | { readonly ping: string };
