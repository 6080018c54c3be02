import fc from 'fast-check';

/** One byte a character. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** Where a stream of bytes is cut. */
export type Cuts = readonly number[] | 'everywhere';

export const cuts: fc.Arbitrary<Cuts> = fc.oneof(
  fc.constant('everywhere' as const),
  fc.array(fc.nat(4096), { maxLength: 6 }),
);

/** Copies, since who receives bytes from a connection owns them. */
export function split(bytes: Uint8Array, at: Cuts): Uint8Array[] {
  if (at === 'everywhere') return Array.from(bytes, (byte) => Uint8Array.of(byte));
  const ends = at.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
  const pieces: Uint8Array[] = [];
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    if (end > start) pieces.push(bytes.slice(start, end));
    start = end;
  }
  return pieces;
}
