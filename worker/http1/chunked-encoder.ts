const TEXT_ENCODER = new TextEncoder();

/** Ends a chunked body, without trailers. */
export const LAST_CHUNK: Uint8Array = TEXT_ENCODER.encode('0\r\n\r\n');

/**
 * One chunk with its size and CRLFs (RFC 9112 section 7.1). It is a copy, as one write of it costs
 * less than three. `bytes` must not be empty: that would be the last chunk.
 */
export function encodeChunk(bytes: Uint8Array): Uint8Array {
  const size = TEXT_ENCODER.encode(`${bytes.length.toString(16)}\r\n`);
  const chunk = new Uint8Array(size.length + bytes.length + 2);
  chunk.set(size);
  chunk.set(bytes, size.length);
  chunk.set([0x0d, 0x0a], size.length + bytes.length);
  return chunk;
}
