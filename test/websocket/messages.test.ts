import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MESSAGE_BYTES_MAX, type Message, MessageParser } from '../../worker/websocket/messages.ts';
import { ProtocolError } from '../../worker/websocket/protocol-error.ts';
import { frame, type Reading, readWithWs } from './ws-codec.ts';

/** Small, so that the fuzz also meets the limit. */
const BYTES_MAX = 70_000;

describe('MessageParser', () => {
  test('reads whatever servers send as ws does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message(), { maxLength: 5 }), cuts(), async (messages, at) => {
        await expectSameReading(Buffer.concat(messages.flat()), at);
      }),
      { numRuns: 500 },
    );
  });

  test('reads damaged streams as ws does', async () => {
    const damage = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(message(), { minLength: 1, maxLength: 5 }),
        damage,
        cuts(),
        async (messages, changes, at) => {
          const bytes = Buffer.concat(messages.flat());
          for (const [offset, value] of changes) bytes[offset % bytes.length] = value;
          await expectSameReading(bytes, at);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('reads noise as ws does', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), cuts(), expectSameReading), {
      numRuns: 2000,
    });
  });

  test.each([
    ['a masked frame', [0x81, 0x80]],
    ['RSV1', [0xc1, 0x00]],
    ['RSV2', [0xa1, 0x00]],
    ['RSV3', [0x91, 0x00]],
    ['a reserved opcode', [0x83, 0x00]],
    ['a reserved control opcode', [0x8b, 0x00]],
    ['a fragmented ping', [0x09, 0x00]],
    ['a ping of 126 bytes', [0x89, 0x7e]],
    ['a continuation of nothing', [0x80, 0x00]],
    ['text within fragmented text', [0x01, 0x00, 0x81, 0x00]],
    ['binary within fragmented text', [0x01, 0x00, 0x82, 0x00]],
    ['a long continuation of nothing', [0x80, 0x7e]],
    ['half a close code', [0x88, 0x01]],
    ['close code 999', [0x88, 0x02, 0x03, 0xe7]],
    ['close code 1004', [0x88, 0x02, 0x03, 0xec]],
    ['close code 1005', [0x88, 0x02, 0x03, 0xed]],
    ['close code 1006', [0x88, 0x02, 0x03, 0xee]],
    ['close code 1015', [0x88, 0x02, 0x03, 0xf7]],
    ['close code 2999', [0x88, 0x02, 0x0b, 0xb7]],
    ['close code 5000', [0x88, 0x02, 0x13, 0x88]],
  ])('refuses %s with 1002 as soon as it can be seen', (_, bytes) => {
    expect(read([Uint8Array.from(bytes)]).errorCode).toBe(1002);
  });

  test.each([
    ['text', [0x81, 0x02, 0xc3, 0x28]],
    ['text cut within a character', [0x81, 0x01, 0xc3]],
    ['a surrogate', [0x81, 0x03, 0xed, 0xa0, 0x80]],
    ['an overlong form', [0x81, 0x02, 0xc0, 0xaf]],
    ['a close reason', [0x88, 0x03, 0x03, 0xe8, 0xff]],
  ])('refuses %s that is not UTF-8 with 1007', (_, bytes) => {
    expect(read([Uint8Array.from(bytes)]).errorCode).toBe(1007);
  });

  test('joins a character that was cut between two fragments', () => {
    const bytes = Uint8Array.from([0x01, 0x01, 0xc3, 0x89, 0x00, 0x80, 0x01, 0xa9]);
    expect(read([bytes]).messages).toEqual([
      ['ping', ''],
      ['text', 'é'],
    ]);
  });

  test('keeps a byte order mark', () => {
    const bytes = Uint8Array.from([0x81, 0x04, 0xef, 0xbb, 0xbf, 0x61]);
    expect(read([bytes]).messages).toEqual([['text', '\ufeffa']]);
  });

  test('takes a message of exactly the limit, and refuses one more byte from its header alone', () => {
    const parser = new MessageParser();
    expect([...parser.push(header64(MESSAGE_BYTES_MAX))]).toEqual([]);
    let messages: Message[] = [];
    for (let sent = 0; sent < MESSAGE_BYTES_MAX; sent += 1 << 20) {
      messages = [...messages, ...parser.push(new Uint8Array(1 << 20))];
    }
    expect(messages.map(({ type }) => type)).toEqual(['binary']);
    expect(messages.map((message) => 'data' in message && message.data.length)).toEqual([
      MESSAGE_BYTES_MAX,
    ]);
    const tooLong = read([header64(MESSAGE_BYTES_MAX + 1)], MESSAGE_BYTES_MAX);
    expect(tooLong.errorCode).toBe(1009);
  });

  test('counts the fragments of a message together', () => {
    const first = frame(new Uint8Array(BYTES_MAX), { fin: false, opcode: 2 });
    expect(read([first, frame(new Uint8Array(1), { fin: true, opcode: 0 })]).errorCode).toBe(1009);
  });

  test.each([
    ['the highest bit', 0x80],
    ['more than 53 bits', 0x01],
  ])('refuses a length with %s', (_, high) => {
    const bytes = Uint8Array.from([0x82, 0x7f, high, 0, 0, 0, 0, 0, 0, 0]);
    expect(read([bytes]).errorCode).toBe(1009);
  });

  test('ignores what follows a close frame', () => {
    const bytes = Uint8Array.from([0x88, 0x00, 0x81, 0x01, 0x61, 0xff]);
    expect(read([bytes, bytes])).toEqual({ messages: [['close', 1005, '']], errorCode: null });
  });

  test('needs little memory for a message in a million parts', () => {
    const parser = new MessageParser();
    expect([...parser.push(header64(1_000_000))]).toEqual([]);
    const before = process.memoryUsage();
    for (let i = 1; i < 1_000_000; i++) parser.push(new Uint8Array(1)).next();
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 << 20);
    expect([...parser.push(new Uint8Array(1))]).toHaveLength(1);
  });
});

/** Where a stream is cut into chunks, modulo its length. */
function cuts(): fc.Arbitrary<number[]> {
  return fc.array(fc.nat(100_000), { maxLength: 12 });
}

/** One message in fragments with control frames between them, or a close frame. */
function message(): fc.Arbitrary<Buffer[]> {
  const control = fc
    .tuple(fc.constantFrom(9, 10), fc.uint8Array({ maxLength: 125 }))
    .map(([opcode, payload]) => frame(payload, { fin: true, opcode }));
  const text = fc.string({ unit: 'grapheme', maxLength: 80 }).map((value) => Buffer.from(value));
  const long = fc
    .constantFrom(125, 126, 127, 65_535, 65_536, BYTES_MAX, BYTES_MAX + 1)
    .map((length) => Buffer.alloc(length, 'x'));
  const data = fc.tuple(
    fc.constantFrom(1, 2),
    fc.oneof(text, text, fc.uint8Array({ maxLength: 200 }), long),
    fc.array(fc.tuple(fc.nat(200), fc.array(control, { maxLength: 2 })), { maxLength: 3 }),
  );
  const close = fc
    .tuple(fc.constantFrom(1000, 1001, 1003, 1005, 1013, 2000, 3000, 4999), text)
    .map(([code, reason]) => [closeFrame(code, reason)]);
  return fc.oneof(
    {
      weight: 8,
      arbitrary: data.map(([opcode, payload, parts]) => fragments(opcode, payload, parts)),
    },
    { weight: 1, arbitrary: close },
  );
}

function fragments(
  opcode: number,
  payload: Uint8Array,
  parts: readonly (readonly [number, Buffer[]])[],
): Buffer[] {
  const frames: Buffer[] = [];
  let rest = payload;
  let next = opcode;
  for (const [length, controls] of parts) {
    frames.push(frame(rest.subarray(0, length), { fin: false, opcode: next }), ...controls);
    rest = rest.subarray(length);
    next = 0;
  }
  frames.push(frame(rest, { fin: true, opcode: next }));
  return frames;
}

function closeFrame(code: number, reason: Uint8Array): Buffer {
  const payload = Buffer.concat([Uint8Array.of(code >> 8, code & 0xff), reason.subarray(0, 123)]);
  return frame(code === 1005 ? new Uint8Array(0) : payload, { fin: true, opcode: 8 });
}

function header64(length: number): Uint8Array {
  const header = Buffer.from([0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0]);
  header.writeBigUInt64BE(BigInt(length), 2);
  return header;
}

async function expectSameReading(bytes: Uint8Array, cutAt: readonly number[] = []): Promise<void> {
  const offsets = cutAt.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b);
  const chunks = [0, ...offsets].map((from, i) => bytes.subarray(from, offsets[i] ?? bytes.length));
  const expected = await readWithWs(bytes, { isServer: false, maxPayload: BYTES_MAX });
  expect(read(chunks)).toEqual(expected);
}

function read(chunks: readonly Uint8Array[], bytesMax = BYTES_MAX): Reading {
  const parser = new MessageParser(bytesMax);
  const messages: unknown[] = [];
  try {
    for (const chunk of chunks) {
      for (const message of parser.push(chunk)) messages.push(comparable(message));
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { messages, errorCode: error.code };
  }
  return { messages, errorCode: null };
}

function comparable(message: Message): unknown[] {
  if (message.type === 'close') return ['close', message.close.code, message.close.reason];
  const { type, data } = message;
  return [type, typeof data === 'string' ? data : Buffer.from(data).toString('hex')];
}
