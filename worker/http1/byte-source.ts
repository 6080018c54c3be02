/**
 * Reads a stream in pieces of a size we choose. The runtime's own streams fill a buffer given to
 * them, 64 KiB at a time instead of 4, and the buffer can be used again; others give what they have.
 */
export class ByteSource {
  readonly #reader: Reader;
  #spare: ArrayBufferLike | null = null;
  /** Whether a byte has come. */
  hasBegun = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = readerOf(stream);
  }

  /**
   * The next bytes, at least one, or null at the end. `sizeMax` binds only streams that fill our
   * buffers; callers must bear more.
   */
  async read(sizeMax: number): Promise<Uint8Array | null> {
    for (;;) {
      const { done, value } = await this.#next(sizeMax);
      if (done || value === undefined) return null;
      if (value.length === 0) continue;
      this.hasBegun = true;
      return value;
    }
  }

  /** Lets the buffer behind `bytes` be overwritten by a later read. */
  recycle(bytes: Uint8Array): void {
    if (this.#reader.kind === 'byob') this.#spare = bytes.buffer;
  }

  /** Stops reading for good; what the stream still had is lost. */
  cancel(reason: unknown): void {
    const { reader } = this.#reader;
    reader.cancel(reason).catch(() => {});
  }

  /** Leaves the stream to someone else. No read may be pending. */
  release(): void {
    this.#reader.reader.releaseLock();
  }

  #next(sizeMax: number): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
    if (this.#reader.kind === 'default') return this.#reader.reader.read();
    const spare = this.#spare;
    this.#spare = null;
    const buffer = spare !== null && spare.byteLength >= sizeMax ? spare : new ArrayBuffer(sizeMax);
    return this.#reader.reader.read(new Uint8Array(buffer, 0, sizeMax));
  }
}

type Reader =
  | { readonly kind: 'byob'; readonly reader: ReadableStreamBYOBReader }
  | { readonly kind: 'default'; readonly reader: ReadableStreamDefaultReader<Uint8Array> };

function readerOf(stream: ReadableStream<Uint8Array>): Reader {
  try {
    return { kind: 'byob', reader: stream.getReader({ mode: 'byob' }) };
  } catch {
    return { kind: 'default', reader: stream.getReader() };
  }
}
