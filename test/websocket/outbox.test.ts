import { describe, expect, test } from 'vitest';
import type { Frame } from '../../worker/websocket/frames.ts';
import { OUTBOX_BYTES_MAX, Outbox } from '../../worker/websocket/outbox.ts';

const MIB = 1024 * 1024;
/** The outbox does not look into frames. */
const HEAD = 0x99;

describe('Outbox', () => {
  test('joins small frames while the upstream is busy, and lets urgent ones go first', async () => {
    const upstream = new SlowUpstream();
    const outbox = new Outbox(upstream.writable);
    outbox.push(frame(Uint8Array.of(1)));
    await upstream.taking;
    for (const byte of [2, 3]) outbox.push(frame(Uint8Array.of(byte)));
    for (const byte of [8, 9]) outbox.pushUrgent(frame(Uint8Array.of(byte)));
    upstream.take();
    await outbox.flushed();
    expect(upstream.writes.map((write) => [...write])).toEqual([
      [HEAD, 1],
      [HEAD, 8, HEAD, 9],
      [HEAD, 2, HEAD, 3],
    ]);
  });

  test('writes a large frame in pieces, in order', async () => {
    const upstream = new SlowUpstream();
    upstream.take();
    const outbox = new Outbox(upstream.writable);
    let progress = 0;
    outbox.onProgress = () => {
      progress += 1;
    };
    const large = Uint8Array.from({ length: 2_500_000 }, (_, i) => i % 251);
    outbox.push(frame(large));
    outbox.push(frame(Uint8Array.of(0xff)));
    await outbox.end();
    const lengths = upstream.writes.map(({ length }) => length);
    expect(lengths).toEqual([1, MIB, MIB, 2_500_000 - 2 * MIB, 2]);
    const expected = Buffer.from([HEAD, ...large, HEAD, 0xff]);
    expect(Buffer.concat(upstream.writes).equals(expected)).toBe(true);
    expect(progress).toBe(5);
    expect(upstream.isClosed).toBe(true);
  });

  test('is bounded in bytes, and counts what a frame itself costs', async () => {
    const upstream = new SlowUpstream();
    const outbox = new Outbox(upstream.writable, 1000);
    expect(outbox.hasRoom(OUTBOX_BYTES_MAX)).toBe(true);
    outbox.push(frame(new Uint8Array(500)));
    await upstream.taking;
    expect(outbox.hasRoom(5000)).toBe(true);
    outbox.push(frame(new Uint8Array(0)));
    outbox.push(frame(new Uint8Array(0)));
    expect(outbox.hasRoom(230)).toBe(true);
    expect(outbox.hasRoom(231)).toBe(false);
    upstream.take();
    await outbox.flushed();
    expect(outbox.hasRoom(5000)).toBe(true);
  });

  test('forgets what waits, but not half of a frame', async () => {
    const upstream = new SlowUpstream();
    const outbox = new Outbox(upstream.writable);
    outbox.push(frame(new Uint8Array(MIB + 1)));
    await upstream.taking;
    outbox.push(frame(Uint8Array.of(1)));
    outbox.clear();
    outbox.push(frame(Uint8Array.of(2)));
    upstream.take();
    await outbox.end();
    expect(upstream.writes.map(({ length }) => length)).toEqual([1, MIB, 1, 2]);
    expect([...(upstream.writes.at(-1) ?? [])]).toEqual([HEAD, 2]);
  });

  test('ends quietly when the connection breaks', async () => {
    const outbox = new Outbox(
      new WritableStream({
        write() {
          throw new Error('reset');
        },
      }),
    );
    outbox.push(frame(Uint8Array.of(1)));
    outbox.push(frame(Uint8Array.of(2)));
    await outbox.flushed();
    outbox.push(frame(Uint8Array.of(3)));
    await outbox.end();
    expect(outbox.hasRoom(OUTBOX_BYTES_MAX)).toBe(true);
  });
});

function frame(payload: Uint8Array): Frame {
  return { head: Uint8Array.of(HEAD), payload };
}

/** Takes nothing until told to, and then everything. */
class SlowUpstream {
  readonly writes: Uint8Array[] = [];
  isClosed = false;
  readonly #taking = Promise.withResolvers<void>();
  readonly #taken = Promise.withResolvers<void>();
  readonly writable = new WritableStream<Uint8Array>({
    write: async (chunk) => {
      this.#taking.resolve();
      await this.#taken.promise;
      this.writes.push(chunk);
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
