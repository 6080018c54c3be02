import type { Deadline } from '../dial/deadline.ts';
import { ByteSource } from './byte-source.ts';
import { ChunkedEncoder, LAST_CHUNK } from './chunked-encoder.ts';
import { lookAtSockets } from './event-loop.ts';
import type { UpstreamRequest } from './message.ts';
import { RequestBodyError } from './request-error.ts';

const READ_BYTES = 64 * 1024;

/** A request on its way to the upstream, while the answer may be on its way back. */
export class Upload {
  /**
   * Resolves when nothing more will be written: all is sent, or the upstream takes no more (its
   * answer, if any, tells why), or we were told to stop. Rejects with RequestBodyError.
   */
  readonly finished: Promise<void>;
  /** Whether `finished` has settled. */
  isFinished = false;
  /** Whether `finished` has rejected: the request will never be whole. */
  hasFailed = false;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #deadline: Deadline;
  readonly #body: ByteSource | null;
  readonly #contentLength: number | null;
  #isCancelled = false;

  constructor(
    writable: WritableStream<Uint8Array>,
    head: Uint8Array,
    { body, contentLength }: UpstreamRequest,
    deadline: Deadline,
  ) {
    this.#writer = writable.getWriter();
    // The failure of a write is told by the write.
    this.#writer.closed.catch(() => {});
    this.#deadline = deadline;
    this.#body = body && new ByteSource(body);
    this.#contentLength = contentLength;
    this.finished = this.#send(head).finally(() => {
      this.isFinished = true;
    });
    // Also keeps it from being an unhandled rejection once the answer's head has come.
    this.finished.catch(() => {
      this.hasFailed = true;
    });
  }

  /** Leaves the rest of the client's body unread. The upstream sees a request that breaks off. */
  cancel(): void {
    if (this.isFinished || this.#isCancelled) return;
    this.#isCancelled = true;
    this.#body?.cancel(new Error('the answer has come already'));
  }

  /** Gives the stream back, for what comes after an upgrade. */
  releaseWritable(): void {
    this.#writer.releaseLock();
  }

  async #send(head: Uint8Array): Promise<void> {
    const isWritten = await this.#write(head);
    if (this.#body === null) return;
    if (isWritten) await this.#sendBody(this.#body);
    else this.#body.cancel(new Error('the upstream takes nothing'));
    // Also if the upstream takes no more: it may have answered before it hung up.
    this.#deadline.start();
  }

  async #sendBody(body: ByteSource): Promise<void> {
    const encoder = this.#contentLength === null ? new ChunkedEncoder() : null;
    let length = 0;
    for (;;) {
      // The client's slowness is not the upstream's.
      this.#deadline.pause();
      const bytes = await readBody(body);
      if (this.#isCancelled) return;
      if (bytes === null) break;
      length += bytes.length;
      if (this.#contentLength !== null && length > this.#contentLength) {
        const error = new RequestBodyError('the body is longer than declared');
        body.cancel(error);
        throw error;
      }
      await lookAtSockets();
      if (this.#isCancelled) return;
      const isWritten = await this.#write(encoder ? encoder.encode(bytes) : bytes);
      if (!isWritten) return body.cancel(new Error('the upstream takes no more'));
      body.recycle(bytes);
    }
    if (encoder) await this.#write(LAST_CHUNK);
    else if (length < (this.#contentLength ?? 0)) {
      throw new RequestBodyError('the body is shorter than declared');
    }
  }

  /** False when the upstream takes no more. */
  async #write(bytes: Uint8Array): Promise<boolean> {
    this.#deadline.start();
    try {
      await this.#writer.write(bytes);
      return true;
    } catch {
      return false;
    }
  }
}

async function readBody(body: ByteSource): Promise<Uint8Array | null> {
  try {
    return await body.read(READ_BYTES);
  } catch (cause) {
    throw new RequestBodyError('the body of the request failed', { cause });
  }
}
