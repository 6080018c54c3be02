import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeClose, isCloseCode } from '../../worker/websocket/close.ts';
import { encodeFrame, type Frame, Opcode } from '../../worker/websocket/frames.ts';
import { frame, readWithWs } from './ws-codec.ts';

const maskingKey = fc.uint8Array({ minLength: 4, maxLength: 4 });

describe('encodeFrame', () => {
  test('writes the bytes that ws writes', () => {
    const payload = fc.oneof(
      fc.uint8Array({ maxLength: 140 }),
      fc.constantFrom(125, 126, 127, 128, 65_535, 65_536, 65_537).map((n) => new Uint8Array(n)),
    );
    const opcode = fc.constantFrom(Opcode.text, Opcode.binary, Opcode.ping, Opcode.pong);
    fc.assert(
      fc.property(opcode, payload, maskingKey, fc.nat(3), (code, bytes, key, shift) => {
        // Payloads are views, which need not begin at a multiple of four.
        const view = new Uint8Array(shift + bytes.length).subarray(shift);
        view.set(bytes);
        const expected = frame(bytes, { fin: true, opcode: code, maskingKey: key });
        expect(bytesOf(encodeFrame(code, view, key)).equals(expected)).toBe(true);
      }),
    );
  });

  test('ws reads a large message back', async () => {
    const payload = crypto.getRandomValues(new Uint8Array(65_536));
    const bytes = bytesOf(encodeFrame(Opcode.binary, payload.slice(), Uint8Array.of(1, 2, 3, 250)));
    const reading = await readWithWs(bytes, { isServer: true, maxPayload: 0 });
    expect(reading).toEqual({
      messages: [['binary', Buffer.from(payload).toString('hex')]],
      errorCode: null,
    });
  });
});

describe('encodeClose', () => {
  test('ws reads any code and reason back', async () => {
    const code = fc.oneof(fc.constantFrom(1000, 1014, 1005), fc.integer({ min: 3000, max: 4999 }));
    const reason = fc.string({ unit: 'binary', maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(code, reason, maskingKey, async (number, text, key) => {
        const close = { code: number, reason: number === 1005 ? '' : text };
        const bytes = bytesOf(encodeFrame(Opcode.close, encodeClose(close), key));
        const { messages } = await readWithWs(bytes, { isServer: true, maxPayload: 0 });
        expect(messages).toEqual([['close', close.code, close.reason.toWellFormed()]]);
      }),
    );
  });

  test('cuts a reason that is too long between two characters', () => {
    const payload = encodeClose({ code: 1000, reason: 'é'.repeat(100) });
    expect(new TextDecoder().decode(payload.subarray(2))).toBe('é'.repeat(61));
  });

  test('refuses codes that must not be sent', () => {
    for (const code of [0, 999, 1004, 1006, 1015, 1016, 2999, 5000]) {
      expect(isCloseCode(code)).toBe(false);
      expect(() => encodeClose({ code, reason: '' })).toThrow(RangeError);
    }
  });
});

function bytesOf({ head, payload }: Frame): Buffer {
  return Buffer.concat([head, payload]);
}
