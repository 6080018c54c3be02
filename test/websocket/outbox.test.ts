import { describe, expect, test } from 'vitest';
import { OUTBOX_BYTES_MAX, Outbox } from '../../worker/websocket/outbox.ts';

describe('Outbox', () => {
  test('joins small frames while the upstream is busy, and lets urgent ones go first', async () => {
    const upstream = new SlowUpstream();
    const outbox = new Outbox(upstream.writable);
    outbox.push(Uint8Array.of(1));
    await upstream.taking;
    for (const byte of [2, 3]) outbox.push(Uint8Array.of(byte));
    for (const byte of [8, 9]) outbox.pushUrgent(Uint8Array.of(byte));
    upstream.take();
    await outbox.flushed();
    expect(upstream.writes).toEqual([[1], [8, 9], [2, 3]]);
  });

  test('writes a large frame in pieces, in order', async () => {
    const upstream = new SlowUpstream();
    upstream.take();
    const outbox = new Outbox(upstream.writable);
    let progress = 0;
    outbox.onProgress = () => {
      progress += 1;
    };
    const frame = crypto.getRandomValues(new Uint8Array(65_536)).map((byte) => byte & 0x7f);
    const large = new Uint8Array(150_000);
    for (let i = 0; i < large.length; i++) large[i] = frame[i % frame.length] ?? 0;
    outbox.push(large);
    outbox.push(Uint8Array.of(0xff));
    await outbox.end();
    expect(upstream.writes.flat()).toEqual([...large, 0xff]);
    expect(upstream.writes.map(({ length }) => length)).toEqual([65_536, 65_536, 18_928, 1]);
    expect(progress).toBe(4);
    expect(upstream.isClosed).toBe(true);
  });

  test('is bounded in bytes, and counts what a frame itself costs', async () => {
    const upstream = new SlowUpstream();
    const outbox = new Outbox(upstream.writable, 1000);
    expect(outbox.hasRoom(OUTBOX_BYTES_MAX)).toBe(true);
    outbox.push(new Uint8Array(500));
    await upstream.taking;
    expect(outbox.hasRoom(5000)).toBe(true);
    outbox.push(new Uint8Array(0));
    outbox.push(new Uint8Array(0));
    expect(outbox.hasRoom(232)).toBe(true);
    expect(outbox.hasRoom(233)).toBe(false);
    upstream.take();
    await outbox.flushed();
    expect(outbox.hasRoom(5000)).toBe(true);
  });

  test('forgets what waits, but not half of a frame', async () => {
    const upstream = new SlowUpstream();
    const outbox = new Outbox(upstream.writable);
    outbox.push(new Uint8Array(100_000));
    await upstream.taking;
    outbox.push(Uint8Array.of(1));
    outbox.clear();
    outbox.push(Uint8Array.of(2));
    upstream.take();
    await outbox.end();
    expect(upstream.writes.map(({ length }) => length)).toEqual([65_536, 34_464, 1]);
    expect(upstream.writes.at(-1)).toEqual([2]);
  });

  test('ends quietly when the connection breaks', async () => {
    const outbox = new Outbox(
      new WritableStream({
        write() {
          throw new Error('reset');
        },
      }),
    );
    outbox.push(Uint8Array.of(1));
    outbox.push(Uint8Array.of(2));
    await outbox.flushed();
    outbox.push(Uint8Array.of(3));
    await outbox.end();
    expect(outbox.hasRoom(OUTBOX_BYTES_MAX)).toBe(true);
  });
});

/** Takes nothing until told to, and then everything. */
class SlowUpstream {
  readonly writes: number[][] = [];
  isClosed = false;
  readonly #taking = Promise.withResolvers<void>();
  readonly #taken = Promise.withResolvers<void>();
  readonly writable = new WritableStream<Uint8Array>({
    write: async (chunk) => {
      this.#taking.resolve();
      await this.#taken.promise;
      this.writes.push([...chunk]);
    },
    close: () => {
      this.isClosed = true;
    },
  });

  /** Resolves at the first write. */
  get taking(): Promise<void> {
    return this.#taking.promise;
  }

  take(): void {
    this.#taken.resolve();
  }
}
