import { ProtocolError } from './protocol-error.ts';

const CR = 0x0d;
const LF = 0x0a;

/** A line without its CRLF, and where in the bytes given the next one begins. */
export interface Line {
  readonly text: string;
  readonly next: number;
}

/**
 * Takes lines off a stream of bytes split anywhere. Strict where RFC 9112 section 2.2 leaves
 * leave: a line ends in CRLF, as a lone LF or CR is read by some as an end and by others not.
 */
export class LineReader {
  readonly #bytesMax: number;
  #partial = '';

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The line that begins at `from`, or before in bytes given earlier; null when it goes on. */
  read(bytes: Uint8Array, from: number): Line | null {
    const lf = bytes.indexOf(LF, from);
    const end = lf < 0 ? bytes.length : lf;
    // One more than the line may have, for its CR.
    if (this.#partial.length + end - from > this.#bytesMax + 1) {
      throw new ProtocolError(`a line is longer than ${this.#bytesMax} bytes`);
    }
    if (lf < 0) {
      this.#partial += latin1(bytes.subarray(from));
      return null;
    }
    const text = this.#partial + latin1(bytes.subarray(from, lf));
    this.#partial = '';
    if (text.charCodeAt(text.length - 1) !== CR)
      throw new ProtocolError('a line ends in a bare LF');
    return { text: text.slice(0, -1), next: lf + 1 };
  }
}

/** One character a byte. (`TextDecoder('latin1')` is windows-1252.) Short texts only. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
