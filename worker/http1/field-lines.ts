import { isFieldValue, isToken, trimBlanks } from './grammar.ts';
import { LIMITS } from './limits.ts';
import type { LineReader } from './line-reader.ts';
import type { Header } from './message.ts';
import { ProtocolError } from './protocol-error.ts';

/** Reads a block of `name: value` lines up to its empty line: a head's, or the trailers. */
export class FieldLines {
  readonly fields: Header[] = [];
  readonly #lines: LineReader;
  #bytesLeft: number;

  constructor(lines: LineReader, bytesMax: number) {
    this.#lines = lines;
    this.#bytesLeft = bytesMax;
  }

  /** Reads on from `from`: where the bytes after the empty line begin, or null when it has not come. */
  read(bytes: Uint8Array, from: number): number | null {
    for (;;) {
      const line = this.#lines.read(bytes, from);
      if (line === null) return null;
      from = line.next;
      if (line.text === '') return from;
      this.#bytesLeft -= line.text.length + 2;
      if (this.#bytesLeft < 0) throw new ProtocolError('the headers are too long');
      if (this.fields.length === LIMITS.HEADER_COUNT_MAX) {
        throw new ProtocolError(`more than ${LIMITS.HEADER_COUNT_MAX} headers`);
      }
      this.fields.push(parseFieldLine(line.text));
    }
  }
}

/**
 * RFC 9112 section 5. A blank before the colon (5.1) or at the beginning (obs-fold, 5.2) is in no
 * token, so both are refused here. The messages do not quote values: they may be secrets.
 */
function parseFieldLine(text: string): Header {
  const colon = text.indexOf(':');
  const name = text.slice(0, Math.max(0, colon));
  if (!isToken(name)) {
    throw new ProtocolError(
      /^[ \t]/.test(text) ? 'a folded header line' : 'an invalid header name',
    );
  }
  const value = trimBlanks(text.slice(colon + 1));
  if (!isFieldValue(value)) throw new ProtocolError(`an invalid value of the header ${name}`);
  return [name, value];
}
