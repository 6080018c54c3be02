const READ_BYTES = 64 * 1024;
/** How long a client may pause before it is taken to wait for the answer. */
const PAUSE_MS = 100;
/** What Cloudflare takes of a body in its smallest plan; nobody has to be served beyond. */
const UNWANTED_BYTES_MAX = 100 * 1024 * 1024;

/**
 * Reads what is on its way of a body that the worker does not want, before the answer goes out.
 *
 * workerd resets a connection on which more than 64 KiB of a body are left over, and a client that
 * is still sending then loses the answer along with the connection: the front, like most clients,
 * hears of the write that failed before it reads. Cloudflare's network stands between the two.
 */
export function takingUnwantedBodies<E>(worker: ExportedHandler<E>): ExportedHandler<E> {
  return {
    async fetch(request, env, ctx) {
      if (!worker.fetch) throw new Error('not a worker for requests');
      // A `Request` of these methods cannot be made with a body, though it can come with one.
      const isPlain = request.method === 'GET' || request.method === 'HEAD';
      if (request.body === null || isPlain) return worker.fetch(request, env, ctx);
      const body = new PassedBody(request.body);
      const { signal } = request;
      const response = await worker.fetch(
        new Request(request, { body: body.readable, signal }) as typeof request,
        env,
        ctx,
      );
      await body.settled();
      return response;
    },
  };
}

/** A body on its way to the worker, for as long as the worker wants it. */
class PassedBody {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #ended: Promise<void>;
  #isWanted = true;
  #bytesLeft = UNWANTED_BYTES_MAX;
  #onProgress: () => void = () => {};

  constructor(body: ReadableStream<Uint8Array>) {
    const { readable, writable } = new IdentityTransformStream();
    this.readable = readable;
    this.#writer = writable.getWriter();
    this.#writer.closed.catch(() => {
      this.#isWanted = false;
    });
    this.#ended = this.#pass(body);
  }

  /** Resolves when nothing of an unwanted body is on its way; at once for a wanted one. */
  async settled(): Promise<void> {
    if (!this.readable.locked) {
      this.#isWanted = false;
      // A write may be waiting for a reader that never comes.
      await this.#writer.abort(new Error('nobody reads the body')).catch(() => {});
    }
    if (!this.#isWanted) await Promise.race([this.#ended, this.#paused()]);
  }

  async #pass(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader({ mode: 'byob' });
    try {
      for (;;) {
        const { done, value } = await reader.read(new Uint8Array(READ_BYTES));
        this.#onProgress();
        if (done || value === undefined) return await this.#close();
        if (this.#isWanted) await this.#write(value);
        else this.#bytesLeft -= value.length;
        if (this.#bytesLeft < 0) return;
      }
    } catch (error) {
      await this.#writer.abort(error).catch(() => {});
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#writer.write(bytes);
    } catch {
      this.#isWanted = false;
    }
  }

  async #close(): Promise<void> {
    if (this.#isWanted) await this.#writer.close().catch(() => {});
  }

  #paused(): Promise<void> {
    return new Promise((resolve) => {
      let timer = setTimeout(resolve, PAUSE_MS);
      this.#onProgress = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, PAUSE_MS);
      };
    });
  }
}
