import type { Connection } from '../../../worker/dial/dialer.ts';
import { latin1, textOf } from './bytes.ts';

/** How the upstream's side of the stream ends: properly, by a reset, or not at all. */
export type Ending = 'end' | 'reset' | 'open';

/** A connection to an upstream that says what it is told to, in the pieces given. */
export class MemoryConnection implements Connection {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** What was written to it. */
  readonly sent: Uint8Array[] = [];
  isClosed = false;
  /** While set, writes wait for it. */
  blocked: Promise<void> | null = null;
  /** Once set, writes fail. */
  isBroken = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;

  constructor(pieces: readonly Uint8Array[], ending: Ending) {
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
        for (const piece of pieces) controller.enqueue(piece);
        if (ending === 'end') controller.close();
        // After what was said before it, as with a socket: an error would overtake the queue.
        if (ending === 'reset') this.#resetSoon(pieces);
      },
      cancel: () => {
        this.#controller = null;
      },
    });
    this.writable = new WritableStream<Uint8Array>({
      write: async (bytes) => {
        if (this.isBroken) throw new Error('EPIPE');
        this.sent.push(bytes.slice());
        await this.blocked;
      },
    });
  }

  get sentText(): string {
    return textOf(Buffer.concat(this.sent));
  }

  say(text: string): void {
    this.#controller?.enqueue(latin1(text));
  }

  reset(): void {
    this.#fail(new Error('ECONNRESET'));
  }

  end(): void {
    this.#controller?.close();
    this.#controller = null;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.isBroken = true;
    this.#fail(new Error('closed by us'));
  }

  #resetSoon(pieces: readonly Uint8Array[]): void {
    const wait = (): void => {
      const isDrained = (this.#controller?.desiredSize ?? 1) > 0;
      if (isDrained || pieces.length === 0) this.reset();
      else setImmediate(wait);
    };
    setImmediate(wait);
  }

  #fail(error: Error): void {
    try {
      this.#controller?.error(error);
    } catch {}
    this.#controller = null;
  }
}
