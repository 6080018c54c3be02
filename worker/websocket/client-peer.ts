import { type Close, isCloseCode, NO_CODE } from './close.ts';
import type { Ending } from './ending.ts';

/** How much may wait for a client that reads slowly before we stop reading from the upstream. */
const CLIENT_BYTES_MAX = 1024 * 1024;

/** `bufferedAmount` has no event: how often to look whether the client has caught up. */
const CLIENT_POLL_MS = 10;

/** The client's side of a bridge: the server end of a `WebSocketPair`. */
export class ClientPeer {
  readonly #socket: WebSocket;
  readonly #ended = Promise.withResolvers<Ending>();
  #isLost = false;
  #isClosed = false;

  /** Accepts the socket. Messages come in later turns of the event loop. */
  constructor(socket: WebSocket, onMessage: (data: string | Uint8Array) => void) {
    this.#socket = socket;
    // The default is a Blob since 2026-03-17, whose bytes come later and so out of order.
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => {
      onMessage(typeof data === 'string' ? data : new Uint8Array(data));
    });
    socket.addEventListener('close', ({ code, reason, wasClean }) => {
      if (wasClean) this.#end({ kind: 'closed', by: 'client', close: asClose(code, reason) });
      else this.#lose('the connection ended without a close frame');
    });
    // For instance a message that is too long: workerd has already failed the connection.
    socket.addEventListener('error', ({ message }) => this.#lose(message));
    // Otherwise workerd answers a Close frame itself, before the upstream has heard of it.
    socket.accept({ allowHalfOpen: true });
  }

  /** Resolves at the client's Close frame, or when the client is gone. */
  get ended(): Promise<Ending> {
    return this.#ended.promise;
  }

  send(data: string | Uint8Array): void {
    if (!this.#isLost && !this.#isClosed) this.#socket.send(data);
  }

  /** Resolves when the client has caught up, so that a fast upstream does not fill our memory. */
  async room(): Promise<void> {
    while (!this.#isLost && !this.#isClosed && this.#socket.bufferedAmount > CLIENT_BYTES_MAX) {
      await new Promise((resolve) => setTimeout(resolve, CLIENT_POLL_MS));
    }
  }

  /** Sends a Close frame, once. */
  close({ code, reason }: Close): void {
    if (this.#isLost || this.#isClosed) return;
    this.#isClosed = true;
    if (code === NO_CODE) this.#socket.close();
    else this.#socket.close(code, reason);
  }

  #lose(cause: string): void {
    this.#isLost = true;
    this.#end({ kind: 'lost', by: 'client', cause });
  }

  #end(ending: Ending): void {
    this.#ended.resolve(ending);
  }
}

/** workerd passes on what a client wrote. A code that must not be sent is a protocol error. */
function asClose(code: number, reason: string): Close {
  if (code === NO_CODE || isCloseCode(code)) return { code, reason };
  return { code: 1002, reason: '' };
}
