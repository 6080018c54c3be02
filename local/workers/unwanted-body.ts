const READ_BYTES = 64 * 1024;
/** How long a client may pause before it is taken to wait for the answer. */
const PAUSE_MS = 200;
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
  readonly #source: ReadableStreamBYOBReader;
  #isWanted = true;
  #reading: Promise<Uint8Array | null> | null = null;

  constructor(body: ReadableStream<Uint8Array>) {
    this.#source = body.getReader({ mode: 'byob' });
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) =>
      this.#pull(controller);
    // A stream of our own hears of its end at once; the runtime's hear of it some turns later.
    const cancel = () => {
      this.#isWanted = false;
    };
    this.readable = new ReadableStream<Uint8Array>({ pull, cancel }, { highWaterMark: 0 });
  }

  /** Resolves when nothing of an unwanted body is on its way; at once for a wanted one. */
  async settled(): Promise<void> {
    if (this.#isWanted && this.readable.locked) return;
    let bytesLeft = UNWANTED_BYTES_MAX;
    while (bytesLeft > 0) {
      const length = await Promise.race([this.#discard(), paused()]);
      if (length === 0) return;
      bytesLeft -= length;
    }
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const bytes = await this.#read();
    if (!this.#isWanted) return;
    if (bytes === null) controller.close();
    else controller.enqueue(bytes);
  }

  /** How many bytes came; none at the end, and from a client that has gone. */
  async #discard(): Promise<number> {
    try {
      return (await this.#read())?.length ?? 0;
    } catch {
      return 0;
    }
  }

  /** The next bytes, or null at the end. workerd bears one read at a time: a second one joins it. */
  #read(): Promise<Uint8Array | null> {
    this.#reading ??= this.#source
      .read(new Uint8Array(READ_BYTES))
      .then(({ value }) => (value?.length ? value : null))
      .finally(() => {
        this.#reading = null;
      });
    return this.#reading;
  }
}

function paused(): Promise<0> {
  return new Promise((resolve) => setTimeout(() => resolve(0), PAUSE_MS));
}
