/**
 * workerd hands header values over as text that it has read as UTF-8, and writes text as UTF-8. The
 * codec's values are latin1, one character a byte. Most are ASCII, which is the same in all three.
 */
const ASCII = /^[\x20-\x7e]*$/;
const ENCODER = new TextEncoder();
const STRICT_DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes behind a value that workerd read; null when they were no UTF-8 and are lost. */
export function wireValue(text: string): string | null {
  if (ASCII.test(text)) return text;
  if (text.includes('\ufffd')) return null;
  return latin1(ENCODER.encode(text));
}

/**
 * A value for workerd to write. UTF-8 arrives as the bytes it was; anything else, which can only be
 * told to be latin1 by guessing, keeps its characters and arrives as UTF-8.
 */
export function textOfWire(value: string): string {
  if (ASCII.test(value)) return value;
  try {
    return STRICT_DECODER.decode(Uint8Array.from(value, (char) => char.charCodeAt(0)));
  } catch {
    return value;
  }
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
