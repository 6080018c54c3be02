/**
 * How many bytes may wait for an upstream that reads slowly. There is no way to make workerd read
 * less from a client, so they wait in the memory of the isolate, of whose 128 MiB this is a quarter.
 */
export const OUTBOX_BYTES_MAX = 32 * 1024 * 1024;

/** What a waiting frame costs beside its bytes: millions of empty messages must not be free. */
const FRAME_OVERHEAD_BYTES = 256;

/**
 * The most that is written at once. Small frames share a write; of a large one no more than this is
 * on its way at a time, so that a slow upstream can be told from one that has stopped.
 */
const WRITE_BYTES_MAX = 64 * 1024;

/** Frames on their way to the upstream, bounded in bytes. */
export class Outbox {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #bytesMax: number;
  #urgent: Uint8Array[] = [];
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #writing: Promise<void> | null = null;
  #broken = false;
  /** Called after each write that the upstream took. */
  onProgress: () => void = () => {};

  constructor(writable: WritableStream<Uint8Array>, bytesMax = OUTBOX_BYTES_MAX) {
    this.#writer = writable.getWriter();
    // Whoever writes or closes gets the same error; unobserved here it would count as unhandled.
    this.#writer.closed.catch(() => {});
    this.#bytesMax = bytesMax;
  }

  /** Whether a frame of so many bytes fits. An empty outbox takes any: a message may be that long. */
  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes + FRAME_OVERHEAD_BYTES <= this.#bytesMax;
  }

  push(frame: Uint8Array): void {
    this.#take(this.#frames, frame);
  }

  /** For control frames, which may overtake whole messages (RFC 6455 section 5.4). */
  pushUrgent(frame: Uint8Array): void {
    this.#take(this.#urgent, frame);
  }

  /** Forgets what waits. A frame of which the upstream has seen a part still goes out whole. */
  clear(): void {
    this.#urgent = [];
    this.#frames = [];
    this.#bytes = 0;
  }

  /** Resolves once nothing waits any more, or never will: the connection is broken. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  /** Ends our direction of the connection after what waits. Never rejects. */
  async end(): Promise<void> {
    await this.flushed();
    await this.#writer.close().catch(() => {});
  }

  #take(queue: Uint8Array[], frame: Uint8Array): void {
    // What the upstream said last may still be read from a connection that takes no more.
    if (this.#broken) return;
    queue.push(frame);
    this.#bytes += frame.length + FRAME_OVERHEAD_BYTES;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      for (let batch = this.#nextBatch(); batch !== null; batch = this.#nextBatch()) {
        for (let at = 0; at < batch.length; at += WRITE_BYTES_MAX) {
          await this.#writer.write(batch.subarray(at, at + WRITE_BYTES_MAX));
          this.onProgress();
        }
      }
    } catch {
      this.#broken = true;
      this.clear();
    } finally {
      this.#writing = null;
    }
  }

  /** One large frame, or several that fit in one write. */
  #nextBatch(): Uint8Array | null {
    const queue = this.#urgent.length > 0 ? this.#urgent : this.#frames;
    let bytes = 0;
    let count = 0;
    for (const frame of queue) {
      if (count > 0 && bytes + frame.length > WRITE_BYTES_MAX) break;
      bytes += frame.length;
      count += 1;
    }
    if (count === 0) return null;
    const batch = queue.splice(0, count);
    this.#bytes -= bytes + count * FRAME_OVERHEAD_BYTES;
    return concat(batch, bytes);
  }
}

function concat(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = parts;
  if (first !== undefined && parts.length === 1) return first;
  const all = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
