import type { Frame } from './frames.ts';

/**
 * How many bytes may wait for an upstream that reads slowly. There is no way to make workerd read
 * less from a client, so they wait in the memory of the isolate, of whose 128 MiB this is a quarter.
 */
export const OUTBOX_BYTES_MAX = 32 * 1024 * 1024;

/** What a waiting frame costs beside its bytes: millions of empty messages must not be free. */
const FRAME_OVERHEAD_BYTES = 256;

/**
 * The most that is written at once. Small frames share a write, as each costs a turn of the event
 * loop: writing less in a turn than workerd reads in one would fill the outbox. Of a large frame no
 * more than this is on its way at a time, so that a slow upstream can be told from a stopped one.
 */
const WRITE_BYTES_MAX = 1024 * 1024;

/** Frames on their way to the upstream, bounded in bytes. */
export class Outbox {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #bytesMax: number;
  #urgent: Frame[] = [];
  #frames: Frame[] = [];
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

  push(frame: Frame): void {
    this.#take(this.#frames, frame);
  }

  /** For control frames, which may overtake whole messages (RFC 6455 section 5.4). */
  pushUrgent(frame: Frame): void {
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

  #take(queue: Frame[], frame: Frame): void {
    // What the upstream said last may still be read from a connection that takes no more.
    if (this.#broken) return;
    queue.push(frame);
    this.#bytes += frameBytes(frame) + FRAME_OVERHEAD_BYTES;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      for (let batch = this.#nextBatch(); batch.length > 0; batch = this.#nextBatch()) {
        for (const part of writes(batch)) {
          await this.#writer.write(part);
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

  /** As many frames as fit in one write, or one that does not. */
  #nextBatch(): readonly Frame[] {
    const queue = this.#urgent.length > 0 ? this.#urgent : this.#frames;
    let bytes = 0;
    let count = 0;
    for (const frame of queue) {
      if (count > 0 && bytes + frameBytes(frame) > WRITE_BYTES_MAX) break;
      bytes += frameBytes(frame);
      count += 1;
    }
    this.#bytes -= bytes + count * FRAME_OVERHEAD_BYTES;
    return queue.splice(0, count);
  }
}

function frameBytes({ head, payload }: Frame): number {
  return head.length + payload.length;
}

/** A batch as it is written: joined, or a frame that is too large for that in pieces. */
function* writes(batch: readonly Frame[]): Generator<Uint8Array> {
  const parts = batch.flatMap(({ head, payload }) => [head, payload]);
  const bytes = batch.reduce((sum, frame) => sum + frameBytes(frame), 0);
  if (bytes <= WRITE_BYTES_MAX) {
    yield concat(parts, bytes);
    return;
  }
  for (const part of parts) {
    for (let at = 0; at < part.length; at += WRITE_BYTES_MAX) {
      yield part.subarray(at, at + WRITE_BYTES_MAX);
    }
  }
}

function concat(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
