import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';

/** An answer, and over which connection it came. */
export interface KeptAnswer {
  readonly status: number;
  /** Of our end: another connection has another one. */
  readonly localPort: number;
}

/** One TLS connection that stays open between requests. */
export class KeptConnection implements Disposable {
  readonly #agent: Agent;
  readonly #port: number;
  readonly #host: string;

  /** @param ca PEM of the only authority that is trusted. */
  constructor(port: number, host: string, ca: string) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, ca, servername: host });
    this.#port = port;
    this.#host = host;
  }

  async ask(path = '/'): Promise<KeptAnswer> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const target = { host: '127.0.0.1', port: this.#port, path };
      const options = { ...target, agent: this.#agent, headers: { host: this.#host } };
      request(options, resolve).once('error', reject).end();
    });
    const { localPort = 0 } = response.socket;
    await text(response);
    return { status: response.statusCode ?? 0, localPort };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
