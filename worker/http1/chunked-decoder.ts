import { FieldLines } from './field-lines.ts';
import { LIMITS } from './limits.ts';
import { LineReader } from './line-reader.ts';
import { ProtocolError } from './protocol-error.ts';

const CR = 0x0d;
const LF = 0x0a;

/** Takes the chunked coding off a body (RFC 9112 section 7.1). Trailers are checked and dropped. */
export class ChunkedDecoder {
  readonly #lines = new LineReader(LIMITS.LINE_BYTES_MAX);
  readonly #trailers = new FieldLines(this.#lines, LIMITS.TRAILER_BYTES_MAX);
  #state: 'size' | 'data' | 'data-cr' | 'data-lf' | 'trailers' | 'done' = 'size';
  #chunkBytesLeft = 0;
  #extensionBytes = 0;

  /** Whether the body has ended. What follows it is not looked at. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /**
   * Decodes in place, which saves copying large chunks and handing on small ones singly: `bytes`
   * are the decoder's from now on, and the result, perhaps empty, is a view of them.
   */
  decode(bytes: Uint8Array): Uint8Array {
    let from = 0;
    let start = 0;
    let end = 0;
    while (from < bytes.length && this.#state !== 'done') {
      if (this.#state !== 'data') {
        from = this.#readFraming(bytes, from);
        continue;
      }
      const length = Math.min(this.#chunkBytesLeft, bytes.length - from);
      if (end === 0) {
        start = from;
        end = from;
      }
      if (from !== end) bytes.copyWithin(end, from, from + length);
      from += length;
      end += length;
      this.#chunkBytesLeft -= length;
      if (this.#chunkBytesLeft === 0) this.#state = 'data-cr';
    }
    return bytes.subarray(start, end);
  }

  /** Reads what is not content; returns from where to go on. */
  #readFraming(bytes: Uint8Array, from: number): number {
    switch (this.#state) {
      case 'data-cr':
        if (bytes[from] !== CR) throw new ProtocolError('a chunk is longer than its size');
        this.#state = 'data-lf';
        return from + 1;
      case 'data-lf':
        if (bytes[from] !== LF) throw new ProtocolError('a chunk ends in a bare CR');
        this.#state = 'size';
        return from + 1;
      case 'trailers': {
        const next = this.#trailers.read(bytes, from);
        if (next !== null) this.#state = 'done';
        return next ?? bytes.length;
      }
      default:
        return this.#readSize(bytes, from);
    }
  }

  #readSize(bytes: Uint8Array, from: number): number {
    const line = this.#lines.read(bytes, from);
    if (line === null) return bytes.length;
    const { size, extensionBytes } = parseSizeLine(line.text);
    this.#extensionBytes += extensionBytes;
    if (this.#extensionBytes > LIMITS.CHUNK_EXTENSION_BYTES_MAX) {
      throw new ProtocolError('chunk extensions are too long');
    }
    this.#chunkBytesLeft = size;
    this.#state = size === 0 ? 'trailers' : 'data';
    return line.next;
  }
}

// The size, then `;name`, `;name=token` or `;name="quoted"`. The standard's "bad white space"
// (RFC 9112 section 7.1.1) is refused: recipients disagree on it.
const SIZE_LINE =
  /^([0-9A-Fa-f]+)((?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*)$/;

function parseSizeLine(text: string): { size: number; extensionBytes: number } {
  const [, digits = '', extensions = ''] = SIZE_LINE.exec(text) ?? [];
  if (digits === '') throw new ProtocolError('an invalid chunk size line');
  if (digits.length > LIMITS.CHUNK_SIZE_DIGITS_MAX) throw new ProtocolError('a chunk is too large');
  return { size: Number.parseInt(digits, 16), extensionBytes: extensions.length };
}
