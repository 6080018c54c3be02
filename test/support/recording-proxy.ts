import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { KeyLeaks } from './key-leaks.ts';

/** One call to Cloudflare's API with its answer, byte for byte. */
export class Exchange {
  /** For example `POST /client/v4/accounts/a/d1/database/b/query`. */
  readonly call: string;
  readonly requestHeaders: string;
  readonly requestBody: Buffer;
  readonly answer: Buffer;

  constructor(call: string, requestHeaders: string, requestBody: Buffer, answer: Buffer) {
    this.call = call;
    this.requestHeaders = requestHeaders;
    this.requestBody = requestBody;
    this.answer = answer;
  }

  /** Whether its body brings a certificate with its key, and is the only place where a key may be. */
  get isUpload(): boolean {
    return /^(POST|PATCH) \S*\/custom_certificates(\/[^/]+)?$/.test(this.call);
  }

  /** What is in it that may not be. */
  leaked(leaks: KeyLeaks): readonly string[] {
    const { call, requestHeaders, requestBody, answer } = this;
    return [
      ...leaks.in(`${call}, its head`, `${call}\n${requestHeaders}`),
      ...(this.isUpload ? [] : leaks.in(`${call}, its body`, requestBody)),
      ...leaks.in(`${call}, its answer`, answer),
    ];
  }
}

/** Stands between a program and an HTTP server and keeps all that either says. */
export class RecordingProxy implements AsyncDisposable {
  readonly exchanges: Exchange[] = [];
  readonly #server: Server;
  #changed = Promise.withResolvers<void>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param target the server's origin. */
  static async start(target: string): Promise<RecordingProxy> {
    const server = createServer();
    const proxy = new RecordingProxy(server);
    server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      proxy.#relay(target, incoming, outgoing).catch(() => outgoing.destroy());
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Waits until there were `count` such exchanges. */
  async until(isMeant: (exchange: Exchange) => boolean, count = 1): Promise<void> {
    while (this.exchanges.filter(isMeant).length < count) await this.#changed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #relay(target: string, incoming: IncomingMessage, outgoing: ServerResponse) {
    const { method = 'GET', url = '/' } = incoming;
    // Nothing compressed: what is searched later must stand there as it is.
    const { 'accept-encoding': _, ...headers } = incoming.headers;
    const requestBody = await buffer(incoming);
    const answer: Buffer[] = [];
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const options = { method, headers: { ...headers, host: new URL(target).host } };
        request(new URL(url, target), options, resolve).once('error', reject).end(requestBody);
      });
      for await (const chunk of response) answer.push(chunk);
      const { 'transfer-encoding': __, ...answerHeaders } = response.headers;
      outgoing.writeHead(response.statusCode ?? 502, answerHeaders);
      outgoing.end(Buffer.concat(answer));
    } finally {
      // Also when the answer broke off.
      const head = incoming.rawHeaders.join('\n');
      this.exchanges.push(
        new Exchange(`${method} ${url}`, head, requestBody, Buffer.concat(answer)),
      );
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
  }
}
