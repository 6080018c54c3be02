import { describe, expect, it } from 'vitest';
import { textOfWire, wireValue } from '../worker/header-text.ts';

describe('header values between workerd and the wire', () => {
  it.each(['', 'plain', 'a\tb', 'caf\xc3\xa9', '\xef\xbb\xbfbom', '\xf0\x9f\x98\x80', '\x01\x7f'])(
    'of UTF-8 are the same bytes after a round trip: %j',
    (wire) => expect(wireValue(textOfWire(wire))).toBe(wire),
  );

  it.each([
    ['caf\xe9', 'café'],
    ['\xff\xfe', 'ÿþ'],
    ['\xe2\x82', 'â\x82'],
  ])('of latin1 keep their characters: %j', (wire, text) => expect(textOfWire(wire)).toBe(text));

  it('that the runtime could not read are gone', () => {
    expect(wireValue('caf\ufffd')).toBeNull();
  });
});
