import { describe, expect, test, vi } from 'vitest';
import { OUTBOX_BYTES_MAX } from '../../worker/websocket/outbox.ts';
import { UpstreamPeer } from '../../worker/websocket/upstream-peer.ts';
import { frame, type Reading, readWithWs } from './ws-codec.ts';

describe('UpstreamPeer', () => {
  test('an upstream that takes nothing ends the bridge, and gets a close frame for what waited', async () => {
    const upstream = new FakeUpstream();
    const peer = upstream.connect();
    const message = new Uint8Array(OUTBOX_BYTES_MAX / 4);
    peer.send('on its way');
    await upstream.taking;
    for (let i = 0; i < 4; i++) peer.send(message.slice());
    expect(await peer.ended).toMatchObject({
      kind: 'failed',
      codes: { client: 1013, upstream: 1013 },
    });
    peer.fail(1013);
    upstream.take();
    upstream.input.close();
    await peer.finish({ serverFirst: false });
    expect((await upstream.received()).messages).toEqual([
      ['text', 'on its way'],
      ['close', 1013, ''],
    ]);
  });

  test('nothing is heard of an upstream that broke the protocol, nor said after a close frame', async () => {
    const upstream = new FakeUpstream();
    const peer = upstream.connect();
    upstream.take();
    upstream.input.write(Uint8Array.of(0x81, 0x01, 0xff));
    upstream.input.write(frame(Buffer.from('more'), { fin: true, opcode: 1 }));
    expect(await peer.ended).toMatchObject({
      kind: 'failed',
      codes: { client: 1011, upstream: 1007 },
    });
    peer.fail(1007);
    upstream.input.write(frame(Buffer.from('ping'), { fin: true, opcode: 9 }));
    upstream.input.close();
    peer.send('too late');
    peer.close({ code: 1000, reason: '' });
    await peer.finish({ serverFirst: true });
    expect(upstream.delivered).toEqual([]);
    expect((await upstream.received()).messages).toEqual([['close', 1007, '']]);
  });

  test('the next message is read only when the last is taken', async () => {
    const taken = Promise.withResolvers<void>();
    const upstream = new FakeUpstream(() => taken.promise);
    const peer = upstream.connect();
    const two = ['one', 'two'].map((text) => frame(Buffer.from(text), { fin: true, opcode: 1 }));
    upstream.input.write(Buffer.concat(two));
    upstream.input.write(frame(Buffer.alloc(0), { fin: true, opcode: 8 }));
    await vi.waitFor(() => expect(upstream.delivered).toEqual(['one']));
    taken.resolve();
    expect(await peer.ended).toMatchObject({ kind: 'closed', close: { code: 1005 } });
    expect(upstream.delivered).toEqual(['one', 'two']);
  });
});

/** A connection after the handshake. Takes nothing until told to, and then everything. */
class FakeUpstream {
  readonly delivered: unknown[] = [];
  readonly input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #readable: ReadableStream<Uint8Array>;
  readonly #receive: () => Promise<void>;
  readonly #written: Uint8Array[] = [];
  readonly #taking = Promise.withResolvers<void>();
  readonly #taken = Promise.withResolvers<void>();

  constructor(receive: () => Promise<void> = async () => {}) {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    this.input = writable.getWriter();
    this.#readable = readable;
    this.#receive = receive;
  }

  connect(): UpstreamPeer {
    const writable = new WritableStream<Uint8Array>({
      write: async (chunk) => {
        this.#taking.resolve();
        await this.#taken.promise;
        this.#written.push(chunk);
      },
    });
    const leftover = new Uint8Array(0);
    const connection = { readable: this.#readable, writable, leftover, close: async () => {} };
    return new UpstreamPeer(connection, (data) => {
      this.delivered.push(data);
      return this.#receive();
    });
  }

  /** Resolves at the first write. */
  get taking(): Promise<void> {
    return this.#taking.promise;
  }

  take(): void {
    this.#taken.resolve();
  }

  received(): Promise<Reading> {
    return readWithWs(Buffer.concat(this.#written), { isServer: true, maxPayload: 0 });
  }
}
