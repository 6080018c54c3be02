import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** One TCP connection whose bytes the test writes and reads itself, as latin1 text or as bytes. */
export class Wire {
  readonly socket: Socket;
  /** Resolves when nothing can be read or written any more, with the error if there was one. */
  readonly closed: Promise<Error | null>;
  #buffer: Buffer = Buffer.alloc(0);
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
      this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
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
    for (let from = 0; ; ) {
      const end = this.#buffer.indexOf('\r\n', from);
      if (end >= 0) {
        const text = this.#buffer.toString('latin1', 0, end);
        this.#buffer = this.#buffer.subarray(end + 2);
        return text;
      }
      from = Math.max(0, this.#buffer.length - 1);
      await this.#more('a line');
    }
  }

  async bytes(count: number): Promise<Buffer> {
    while (this.#buffer.length < count) await this.#more(`${count} bytes`);
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  /** Everything up to the end of the other side. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) await this.#awake();
    const taken = this.#buffer;
    this.#buffer = Buffer.alloc(0);
    return taken;
  }

  /** Whether the other side has said that it is done, with nothing left to read. */
  async ended(): Promise<boolean> {
    while (this.#buffer.length === 0 && !this.#ended) await this.#awake();
    return this.#buffer.length === 0;
  }

  async #more(wanted: string): Promise<void> {
    if (this.#ended) {
      const had = JSON.stringify(this.#buffer.toString('latin1', 0, 200));
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
