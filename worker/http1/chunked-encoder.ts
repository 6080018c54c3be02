const TEXT_ENCODER = new TextEncoder();

/** Ends a chunked body, without trailers. */
export const LAST_CHUNK: Uint8Array = TEXT_ENCODER.encode('0\r\n\r\n');

/** Puts a body into the chunked coding (RFC 9112 section 7.1). */
export class ChunkedEncoder {
  #buffer = new Uint8Array(0);

  /**
   * One chunk with its size and CRLFs, in one piece, as one write costs more than the copy. It
   * holds until the next call. `bytes` must not be empty: that would be the last chunk.
   */
  encode(bytes: Uint8Array): Uint8Array {
    const size = TEXT_ENCODER.encode(`${bytes.length.toString(16)}\r\n`);
    const end = size.length + bytes.length;
    if (this.#buffer.length < end + 2) this.#buffer = new Uint8Array(end + 2);
    this.#buffer.set(size);
    this.#buffer.set(bytes, size.length);
    this.#buffer.set([0x0d, 0x0a], end);
    return this.#buffer.subarray(0, end + 2);
  }
}
