import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { readRequest, type ServerMessage } from './message.ts';
import { Wire } from './wire.ts';

/** What an upstream does with a connection; `index` counts them from 0. */
export type Script = (wire: Wire, index: number, upstream: Upstream) => Promise<void> | void;

/** An upstream on a free port of 127.0.0.1 whose every byte the test decides on. */
export class Upstream implements AsyncDisposable {
  /** Those that were noted. */
  readonly requests: ServerMessage[] = [];
  readonly wires: Wire[] = [];
  readonly #server: Server;
  readonly #open = new Set<Wire>();
  #failure: unknown = null;
  #changed = Promise.withResolvers<void>();

  static async start(script: Script, host = '127.0.0.1', port = 0): Promise<Upstream> {
    const upstream = new Upstream(script);
    upstream.#server.listen(port, host);
    await once(upstream.#server, 'listening');
    return upstream;
  }

  private constructor(script: Script) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, async (socket) => {
      const wire = new Wire(socket);
      this.wires.push(wire);
      this.#open.add(wire);
      void wire.closed.then(() => this.#open.delete(wire));
      this.#change();
      try {
        await script(wire, this.wires.length - 1, this);
      } catch (error) {
        this.#failure ??= error;
        wire.destroy();
      }
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many connections there were. */
  get dials(): number {
    return this.wires.length;
  }

  /** The connection of this index, once it is there. */
  wire(index: number): Promise<Wire> {
    return this.#once(() => this.wires[index]);
  }

  /** The noted request of this index, once it is there. */
  received(index: number): Promise<ServerMessage> {
    return this.#once(() => this.requests[index]);
  }

  /** For scripts: remembers a request, of which perhaps only the head was read. */
  note(request: Pick<ServerMessage, 'startLine' | 'headers'> & Partial<ServerMessage>): void {
    const [method = '', target = ''] = request.startLine.split(' ');
    const empty = { method, target, framing: 'none', body: Buffer.alloc(0) } as const;
    this.requests.push({ ...empty, ...request });
    this.#change();
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #once<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      await this.#changed.promise;
    }
  }

  /** The newest request, which must have come. */
  get request(): ServerMessage {
    const request = this.requests.at(-1);
    if (!request) throw new Error('the upstream got no request', { cause: this.#failure });
    return request;
  }

  /** Forgets what was. */
  clear(): void {
    this.requests.length = 0;
    this.wires.length = 0;
    this.#failure = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const wire of this.#open) wire.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

type Answer = string | Uint8Array;

/** Reads one request, notes it, answers with these bytes and ends the connection. */
export function answering(
  answer: Answer | ((request: ServerMessage, index: number) => Answer | Promise<Answer>),
): Script {
  return async (wire, index, upstream) => {
    const request = await readRequest(wire);
    upstream.note(request);
    wire.end(typeof answer === 'function' ? await answer(request, index) : answer);
  };
}

/** `HTTP/1.1 200 OK` with the body's length. */
export function ok(body = '', ...headers: readonly string[]): string {
  const lines = ['HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...headers];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** A port on which nobody listens. */
export async function deadPort(): Promise<number> {
  const upstream = await Upstream.start(() => {});
  const { port } = upstream;
  await upstream[Symbol.asyncDispose]();
  return port;
}
