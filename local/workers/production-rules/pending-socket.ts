import type { RawSocket } from '../../../worker/dial/socket.ts';

/** A socket whose connection is not begun yet, or never will be; usable at once, as any other. */
export class PendingSocket implements RawSocket {
  readonly opened: Promise<unknown>;
  readonly closed: Promise<void>;
  readonly #promise: Promise<RawSocket>;
  #socket: RawSocket | null = null;
  #readable: ReadableStream<Uint8Array> | null = null;
  #writable: WritableStream<Uint8Array> | null = null;

  constructor(promise: Promise<RawSocket>) {
    this.#promise = promise;
    this.opened = promise.then((socket) => {
      this.#socket = socket;
      return socket.opened;
    });
    this.closed = promise.then((socket) => socket.closed);
    // As with workerd's sockets, who does not look at them need not fear them.
    this.opened.catch(() => {});
    this.closed.catch(() => {});
  }

  get readable(): ReadableStream<Uint8Array> {
    this.#readable ??= this.#socket?.readable ?? readableOf(this.#promise);
    return this.#readable;
  }

  get writable(): WritableStream<Uint8Array> {
    this.#writable ??= this.#socket?.writable ?? writableOf(this.#promise);
    return this.#writable;
  }

  /** What has not begun yet begins all the same and is closed then, as an open socket would be. */
  async close(): Promise<void> {
    await (await this.#promise).close();
  }
}

/** What is read before the connection has begun comes through a pipe. */
function readableOf(promise: Promise<RawSocket>): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  promise
    .then((socket) => socket.readable.pipeTo(writable))
    .catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}

/** And so does what is written. */
function writableOf(promise: Promise<RawSocket>): WritableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  promise
    .then((socket) => readable.pipeTo(socket.writable))
    .catch((error) => readable.cancel(error).catch(() => {}));
  return writable;
}
