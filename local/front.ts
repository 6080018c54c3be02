import {
  createServer,
  Agent as HttpAgent,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2Server,
  Http2ServerRequest,
  type ServerOptions,
} from 'node:http2';
import { createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type ClientConnection, clientConnection } from './client-connection.ts';
import { listen } from './listen.ts';
import {
  type ClientResponse,
  HEADERS_BYTES_MAX,
  refuse,
  relay,
  relayUpgrade,
  responseOn,
} from './relay.ts';
import type { ServerCertificate } from './tls/default-certificate.ts';
import type { TlsState } from './tls/server-names.ts';
import { TlsListener } from './tls/tls-listener.ts';
import {
  type ClientRequest,
  isWebSocket,
  type WorkerRequest,
  workerRequest,
} from './worker-request.ts';

/** Where the worker's socket listens. */
export interface WorkerAddress {
  readonly host: string;
  readonly port: number;
}

export interface FrontOptions {
  readonly host: string;
  /** 0 for free ones. */
  readonly httpPort: number;
  readonly httpsPort: number;
  /** For server names that no certificate of {@link Front.present} covers. */
  readonly certificate: ServerCertificate;
  /** Hears, in words without key bytes, of certificates that cannot be shown. */
  readonly report: (message: string) => void;
}

/**
 * Stands where Cloudflare's network stands in production: takes the client's connection, says who
 * the client is and which scheme it used, and hands the request to the worker.
 *
 * The worker's socket speaks the absolute form (RFC 9112 section 3.2.2), so that `Request.url` has
 * scheme, host and path as the client sent them, as in production.
 */
export class Front {
  readonly #http: HttpServer;
  readonly #http2: Http2Server;
  readonly #tcp: TcpServer;
  readonly #tls: TlsListener;
  readonly #agent = new HttpAgent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  /** What the worker is told of each connection, by socket or session. */
  readonly #connections = new WeakMap<object, ClientConnection>();
  readonly #serverNames = new WeakMap<Socket, string>();
  readonly #open = new Set<Socket>();
  readonly #worker = Promise.withResolvers<WorkerAddress>();
  #ports = { http: 0, https: 0 };

  private constructor({ certificate, report }: FrontOptions) {
    const limits = { maxHeaderSize: HEADERS_BYTES_MAX, requestTimeout: 0 };
    this.#http = createServer({ ...limits, shouldUpgradeCallback: isWebSocket });
    // Node would drop all beyond 2000 in silence, and with them perhaps one that frames the body.
    this.#http.maxHeadersCount = 0;
    this.#http.on('request', (request, response) => this.#relay(request, response));
    this.#http.on('upgrade', (request, client: Socket, head) =>
      this.#upgrade(request, responseOn(client, request), head),
    );
    this.#http2 = createHttp2Server(HTTP2_OPTIONS);
    this.#http2.on('request', (request, response) => this.#relay(request, response));
    this.#http2.on('session', (session) => {
      session.setTimeout(HTTP2_IDLE_MS, () => session.close());
    });
    this.#tls = new TlsListener({
      fallback: certificate,
      report,
      onSecure: (socket, serverName) => this.#secured(socket, serverName),
    });
    this.#tcp = createTcpServer((socket) => this.#tls.accept(socket));
    for (const server of [this.#http, this.#tcp]) {
      server.on('connection', (socket: Socket) => {
        this.#open.add(socket);
        socket.on('close', () => this.#open.delete(socket));
      });
    }
  }

  /**
   * Accepts connections from then on. Requests wait for {@link Front.serve}, handshakes for
   * {@link Front.present}.
   * @throws Error when a port cannot be had
   */
  static async start(options: FrontOptions): Promise<Front> {
    const front = new Front(options);
    const { host, httpPort, httpsPort } = options;
    try {
      const http = await listen(front.#http, { host, port: httpPort, flag: '--http-port' });
      const https = await listen(front.#tcp, { host, port: httpsPort, flag: '--https-port' });
      front.#ports = { http, https };
      return front;
    } catch (error) {
      await front.close();
      throw error;
    }
  }

  get port(): number {
    return this.#ports.http;
  }

  get httpsPort(): number {
    return this.#ports.https;
  }

  /** Says where requests go. */
  serve(worker: WorkerAddress): void {
    this.#worker.resolve(worker);
  }

  /** Does handshakes with these from now on. Connections that are open stay as they are. */
  present(state: TlsState): void {
    this.#tls.present(state);
  }

  async close(): Promise<void> {
    const servers = [this.#http, this.#tcp].map(
      (server) => new Promise((resolve) => server.close(resolve)),
    );
    for (const socket of this.#open) socket.destroy();
    this.#agent.destroy();
    await Promise.all(servers);
  }

  /** A version of HTTP was agreed upon in the handshake (RFC 7301). */
  #secured(socket: TLSSocket, serverName: string): void {
    this.#serverNames.set(socket, serverName);
    if (socket.alpnProtocol !== 'h2') {
      this.#http.emit('connection', socket);
      return;
    }
    // All streams of a session come on one socket, which they do not show.
    this.#http2.once('session', (session) => {
      this.#connections.set(session, this.#describe(socket, 'HTTP/2'));
    });
    this.#http2.emit('connection', socket);
  }

  async #relay(request: ClientRequest, response: ClientResponse): Promise<void> {
    const own = this.#workerRequest(request);
    if (!own) return refuse(response);
    const worker = await this.#worker.promise;
    // The client may have gone meanwhile.
    const client = request instanceof Http2ServerRequest ? request.stream : request.socket;
    if (!client.destroyed) relay(request, response, { ...worker, ...own, agent: this.#agent });
  }

  async #upgrade(request: IncomingMessage, response: ServerResponse, head: Buffer): Promise<void> {
    const own = this.#workerRequest(request);
    if (!own) return refuse(response);
    const worker = await this.#worker.promise;
    if (!request.socket.destroyed) relayUpgrade(request, response, head, { ...worker, ...own });
  }

  #workerRequest(request: ClientRequest): WorkerRequest | null {
    const connection = this.#connectionOf(request);
    return connection && workerRequest(request, connection);
  }

  /** Null when the session has ended meanwhile. */
  #connectionOf(request: ClientRequest): ClientConnection | null {
    if (request instanceof Http2ServerRequest) {
      const { session } = request.stream;
      return (session && this.#connections.get(session)) ?? null;
    }
    const { socket, httpVersion } = request;
    const connection =
      this.#connections.get(socket) ?? this.#describe(socket, `HTTP/${httpVersion}`);
    this.#connections.set(socket, connection);
    return connection;
  }

  #describe(socket: Socket, httpProtocol: string): ClientConnection {
    const serverName = this.#serverNames.get(socket) ?? '';
    const authorities = this.#tls.find(serverName).policy?.authorities ?? [];
    return clientConnection(socket, { httpProtocol, serverName, authorities });
  }
}

/** How long a session of HTTP/2 may lie idle; one of HTTP/1.1 has Node's five seconds. */
const HTTP2_IDLE_MS = 60_000;

const HTTP2_OPTIONS: ServerOptions = {
  settings: { maxHeaderListSize: HEADERS_BYTES_MAX, maxConcurrentStreams: 128 },
  // As many as fit into that many bytes, as in HTTP/1.1.
  maxHeaderListPairs: HEADERS_BYTES_MAX / 32,
  maxSendHeaderBlockLength: 2 * HEADERS_BYTES_MAX,
  // What an upstream says twice is the client's to judge, as in HTTP/1.1.
  strictSingleValueFields: false,
};
