import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** One TCP connection whose bytes the test writes and reads itself, as latin1 text or as bytes. */
export class Wire {
  readonly socket: Socket;
  /** Resolves when nothing can be read or written any more, with the error if there was one. */
  readonly closed: Promise<Error | null>;
  /** What has come and was not read, in the pieces in which it came. */
  #pieces: Buffer[] = [];
  #length = 0;
  #ended = false;
  #wake: () => void = () => {};

  static async dial(port: number, host = '127.0.0.1'): Promise<Wire> {
    const socket = connect({ port, host, allowHalfOpen: true });
    await once(socket, 'connect');
    return new Wire(socket);
  }

  constructor(socket: Socket) {
    this.socket = socket;
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.closed = promise;
    let cause: Error | null = null;
    const ended = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('data', (chunk: Buffer) => {
      this.#pieces.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
    socket.on('end', ended);
    socket.on('close', () => {
      ended();
      resolve(cause);
    });
  }

  get remotePort(): number {
    return this.socket.remotePort ?? 0;
  }

  get localPort(): number {
    return (this.socket.address() as AddressInfo).port;
  }

  write(data: string | Uint8Array): void {
    this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** Says that nothing more will be written. */
  end(data: string | Uint8Array = ''): void {
    this.write(data);
    this.socket.end();
  }

  /** The other side sees ECONNRESET. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** A line without its CRLF. Rejects when the connection ends before. */
  async line(): Promise<string> {
    for (;;) {
      const whole = this.#whole();
      const end = whole.indexOf('\r\n');
      if (end >= 0) return this.#take(end + 2).toString('latin1', 0, end);
      await this.#more('a line');
    }
  }

  async bytes(count: number): Promise<Buffer> {
    while (this.#length < count) await this.#more(`${count} bytes`);
    return this.#take(count);
  }

  /** Everything up to the end of the other side. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) await this.#awake();
    return this.#take(this.#length);
  }

  /** Whether the other side has said that it is done, with nothing left to read. */
  async ended(): Promise<boolean> {
    while (this.#length === 0 && !this.#ended) await this.#awake();
    return this.#length === 0;
  }

  #take(count: number): Buffer {
    const whole = this.#whole();
    this.#pieces = [whole.subarray(count)];
    this.#length -= count;
    return whole.subarray(0, count);
  }

  #whole(): Buffer {
    const [only] = this.#pieces;
    const whole = only && this.#pieces.length === 1 ? only : Buffer.concat(this.#pieces);
    this.#pieces = [whole];
    return whole;
  }

  async #more(wanted: string): Promise<void> {
    if (this.#ended) {
      const had = JSON.stringify(this.#whole().toString('latin1', 0, 200));
      throw new Error(`the connection ended before ${wanted}; had ${had}`);
    }
    await this.#awake();
  }

  #awake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
