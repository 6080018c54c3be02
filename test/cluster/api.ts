import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { WatchEvent } from './objects.ts';

export type PatchType = 'merge' | 'strategic-merge' | 'json' | 'apply';

const patchContentTypes: Record<PatchType, string> = {
  merge: 'application/merge-patch+json',
  'strategic-merge': 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** How long one call may take, except a watch. */
const CALL_TIMEOUT_MS = 15_000;

/** The server's refusal: `status` and `reason` are those of the Kubernetes Status object. */
export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(call: string, status: number, reason: string, message: string) {
    super(`${call}: ${status} ${reason}: ${message}`);
    this.status = status;
    this.reason = reason;
  }
}

/**
 * A small client of the API server: plain HTTPS with one bearer token.
 *
 * Paths are as the server has them, such as `/api/v1/namespaces/default/pods/web-1`. All methods throw
 * `ApiError` when the server refuses and Node's own network errors when it cannot be reached.
 */
export class KubernetesApi {
  readonly server: string;
  readonly token: string;
  readonly #agent: Agent;

  /** @param certificateAuthority in PEM. */
  constructor(server: string, certificateAuthority: string, token: string) {
    this.server = server;
    this.token = token;
    this.#agent = new Agent({ keepAlive: true, ca: certificateAuthority });
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path);
  }

  post<T>(path: string, object: unknown): Promise<T> {
    return this.#call('POST', path, JSON.stringify(object), 'application/json');
  }

  /** Replaces an object; with a `resourceVersion` inside, only when it is still that version. */
  put<T>(path: string, object: unknown): Promise<T> {
    return this.#call('PUT', path, JSON.stringify(object), 'application/json');
  }

  patch<T>(path: string, change: unknown, type: PatchType = 'merge'): Promise<T> {
    return this.#call('PATCH', path, JSON.stringify(change), patchContentTypes[type]);
  }

  /** @param options DeleteOptions, such as `{gracePeriodSeconds: 0}`. */
  delete<T>(path: string, options: Record<string, unknown> = {}): Promise<T> {
    return this.#call('DELETE', path, JSON.stringify(options), 'application/json');
  }

  /** Whether the server answers `ok` on /readyz. Never throws. */
  async isReady(): Promise<boolean> {
    try {
      return (await text(await this.#send('GET', '/readyz'))) === 'ok';
    } catch {
      return false;
    }
  }

  /**
   * The changes of a collection after `resourceVersion`, until the server or `signal` ends the watch.
   * Ends without an error when the server closes the stream; throws when the connection breaks or the
   * server says that the version is too old (`ApiError` 410).
   */
  async *watch<T>(
    path: string,
    resourceVersion: string,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const query = `watch=1&resourceVersion=${resourceVersion}&allowWatchBookmarks=true`;
    const response = await this.#send('GET', `${path}?${query}`, { signal });
    if (response.statusCode !== 200) throw await refusal('WATCH', path, response);
    for await (const line of createInterface({ input: response })) {
      const event = JSON.parse(line) as WatchEvent<T>;
      if (event.type === 'ERROR') throw statusError(`WATCH ${path}`, 500, line);
      yield event;
    }
  }

  /** Closes the idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #call<T>(method: string, path: string, body?: string, contentType?: string): Promise<T> {
    const response = await this.#send(method, path, { body, contentType });
    if ((response.statusCode ?? 500) >= 300) throw await refusal(method, path, response);
    return JSON.parse(await text(response)) as T;
  }

  #send(method: string, path: string, { body, contentType, signal }: SendOptions = {}) {
    return new Promise<IncomingMessage>((resolve, reject) => {
      const headers: Record<string, string | number> = {
        authorization: `Bearer ${this.token}`,
        accept: 'application/json',
      };
      if (contentType) headers['content-type'] = contentType;
      if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
      const options = { method, headers, agent: this.#agent };
      // A watch lasts as long as its signal; every other call has a bound.
      const limit = signal ?? AbortSignal.timeout(CALL_TIMEOUT_MS);
      const sent = request(new URL(path, this.server), { ...options, signal: limit }, resolve);
      sent.once('error', reject);
      sent.end(body);
    });
  }
}

interface SendOptions {
  body?: string | undefined;
  contentType?: string | undefined;
  signal?: AbortSignal;
}

async function refusal(method: string, path: string, response: IncomingMessage) {
  return statusError(`${method} ${path}`, response.statusCode ?? 500, await text(response));
}

function statusError(call: string, code: number, body: string): ApiError {
  try {
    const parsed = JSON.parse(body);
    const status = parsed.type === 'ERROR' ? parsed.object : parsed;
    return new ApiError(call, status.code ?? code, status.reason ?? '', status.message ?? body);
  } catch {
    return new ApiError(call, code, 'NotJson', body);
  }
}
