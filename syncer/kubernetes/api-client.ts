import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { StringDecoder } from 'node:string_decoder';
import type { KubeConfig } from '@kubernetes/client-node';
import { ApiError } from './api-error.ts';

/**
 * When a peer has vanished without a word (a node lost, a NAT entry dropped) the kernel finds out:
 * it probes after this time of silence and then every second, and gives up after ten probes, so
 * that a dead connection fails after 25 s. It costs the API server nothing.
 */
const KEEP_ALIVE_PROBE_MS = 15_000;

export interface ApiRequest {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Without a byte for this long, in connecting too, the connection counts as dead. */
  readonly silenceMs: number;
}

export interface ApiWrite extends ApiRequest {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `application/json`, or one of the patch types. */
  readonly contentType: string;
  readonly body: unknown;
}

/**
 * Talks to the API server with the credentials of a kubeconfig.
 *
 * Not client-node's own HTTP, which makes an undici agent and with it a connection for each call.
 * Its KubeConfig is asked before every call, so that a rotated token (it reads the file again each
 * minute), certificate authority or client certificate is used without a restart.
 */
export class ApiClient {
  readonly #kubeConfig: KubeConfig;
  readonly #http = new http.Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_PROBE_MS });
  readonly #https = new https.Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_PROBE_MS });
  #proxy: http.Agent | null = null;

  constructor(kubeConfig: KubeConfig) {
    this.#kubeConfig = kubeConfig;
  }

  /** Throws an {@link ApiError} when the server refuses, and Node's errors when it is not reached. */
  async get(request: ApiRequest): Promise<unknown> {
    return JSON.parse(await text(await this.#open(request)));
  }

  /** Writes; the object as the server keeps it from now on. Throws as `get` does. */
  async write(request: ApiWrite): Promise<unknown> {
    const { statusCode = 0, body, retryAfterMs } = await this.#answer(request);
    if (statusCode >= 200 && statusCode < 300) return body;
    const what = `${request.method} ${request.path}`;
    throw ApiError.fromStatus(what, statusCode, body, retryAfterMs);
  }

  /** The lines of an answer without end, once the server has begun it; throws as `get` does. */
  async lines(request: ApiRequest): Promise<AsyncGenerator<string>> {
    return splitLines(await this.#open(request));
  }

  close(): void {
    for (const agent of [this.#http, this.#https, this.#proxy]) agent?.destroy();
  }

  async #open(request: ApiRequest): Promise<IncomingMessage> {
    const response = await this.#send(request);
    const { statusCode = 0, headers } = response;
    if (statusCode === 200) return response;
    const body = parsed(await text(response));
    throw ApiError.fromStatus(`GET ${request.path}`, statusCode, body, retryAfter(headers));
  }

  async #answer(request: ApiWrite) {
    const response = await this.#send(request);
    const { statusCode, headers } = response;
    return { statusCode, body: parsed(await text(response)), retryAfterMs: retryAfter(headers) };
  }

  async #send(call: ApiRequest | ApiWrite): Promise<IncomingMessage> {
    const { path, query, signal, silenceMs } = call;
    const content = 'body' in call ? JSON.stringify(call.body) : null;
    const cluster = this.#kubeConfig.getCurrentCluster();
    if (!cluster) throw new Error('the kubeconfig has no current cluster');
    // The server's address may have a path (Rancher's proxies do), which URL resolution would drop.
    const url = new URL(`${cluster.server.replace(/\/+$/, '')}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const secure = url.protocol === 'https:';
    const credentials: https.RequestOptions = {};
    await this.#kubeConfig.applyToHTTPSOptions(credentials);
    if (cluster.proxyUrl) this.#proxy = (credentials.agent as http.Agent | undefined) ?? null;
    const options: https.RequestOptions = {
      ...credentials,
      agent: this.#proxy ?? (secure ? this.#https : this.#http),
      method: 'method' in call ? call.method : 'GET',
      headers: {
        ...trimmed(credentials.headers),
        accept: 'application/json',
        'user-agent': AGENT,
        ...('contentType' in call && { 'content-type': call.contentType }),
      },
      signal,
      timeout: silenceMs,
    };
    return new Promise((resolve, reject) => {
      const request = (secure ? https : http).request(url, options);
      let answer: IncomingMessage | null = null;
      request.on('response', (response) => {
        answer = response;
        resolve(response);
      });
      request.on('timeout', () => {
        const silence = new Error(`no byte from the API server for ${silenceMs / 1000} s`);
        (answer ?? request).destroy(silence);
      });
      request.on('error', reject);
      request.end(content);
    });
  }
}

function retryAfter(headers: IncomingHttpHeaders): number {
  return Number(headers['retry-after'] ?? 0) * 1000 || 0;
}

const AGENT = 'causeway';

/** A token file may end with a line end, which no header may. */
function trimmed(headers: https.RequestOptions['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers ?? {}).map(([name, value]) => [name, String(value).trim()]),
  );
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

/**
 * Not node:readline, for which U+2028 inside a JSON string ends a line too. What follows the last
 * line end is half an event of a broken connection, and is dropped.
 */
async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let begun = '';
  for await (const chunk of chunks) {
    const [first = '', ...others] = decoder.write(chunk).split('\n');
    begun += first;
    for (const other of others) {
      yield begun;
      begun = other;
    }
  }
}
