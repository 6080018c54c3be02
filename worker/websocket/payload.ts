const EMPTY: Uint8Array = new Uint8Array(0);

/**
 * Bytes that arrive in parts. One growing buffer and not a list of the parts: a list of 32 million
 * parts of a byte each would take gigabytes.
 */
export class Payload {
  #bytes = EMPTY;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** `missing`: how many bytes are known to follow. They are not believed before they are there. */
  append(part: Uint8Array, missing: number): void {
    if (part.length === 0) return;
    if (this.#length === 0) {
      // The usual message comes in one part and is never copied.
      this.#bytes = part;
      this.#length = part.length;
      return;
    }
    const length = this.#length + part.length;
    if (length > this.#bytes.length) this.#grow(length, missing);
    this.#bytes.set(part, this.#length);
    this.#length = length;
  }

  /** The bytes so far. Begins anew. */
  take(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#length);
    this.#bytes = EMPTY;
    this.#length = 0;
    return bytes;
  }

  #grow(length: number, missing: number): void {
    const doubled = length * 2;
    const known = length + missing;
    const bytes = new Uint8Array(missing > 0 ? Math.min(doubled, known) : doubled);
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
  }
}
