import { FieldLines } from './field-lines.ts';
import { listMembers } from './grammar.ts';
import { LIMITS } from './limits.ts';
import { LineReader } from './line-reader.ts';
import type { Header } from './message.ts';
import { ProtocolError } from './protocol-error.ts';

/** What delimits the content that a head announces, before method and status have their say. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: readonly Header[];
  readonly contentLength: number | null;
  readonly isChunked: boolean;
  /** Whether the upstream will close the connection after this answer (RFC 9112 section 9.3). */
  readonly willClose: boolean;
}

/** Reads one head, interim or final, off bytes split anywhere. */
export class ResponseHeadReader {
  readonly #lines = new LineReader(LIMITS.LINE_BYTES_MAX);
  #status: StatusLine | null = null;
  #fields = new FieldLines(this.#lines, LIMITS.HEAD_BYTES_MAX);

  /** The head and where in `bytes` the rest begins, or null when the head goes on. */
  read(bytes: Uint8Array, from: number): { head: ResponseHead; next: number } | null {
    if (this.#status === null) {
      const line = this.#lines.read(bytes, from);
      if (line === null) return null;
      this.#status = parseStatusLine(line.text);
      from = line.next;
    }
    const next = this.#fields.read(bytes, from);
    return next === null ? null : { head: responseHead(this.#status, this.#fields.fields), next };
  }
}

interface StatusLine {
  readonly minorVersion: 0 | 1;
  readonly status: number;
}

// The reason phrase may be missing, and with it, though it should not be, the space before it.
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/;

/**
 * RFC 9112 section 4. A status beyond 599 is as good as a 5xx of ours (RFC 9110 section 15), and
 * HTTP/1.0 has no 1xx (section 15.2): some take one for the answer, others read on.
 */
function parseStatusLine(text: string): StatusLine {
  const match = STATUS_LINE.exec(text);
  if (match === null) throw new ProtocolError('not a status line of HTTP/1.0 or HTTP/1.1');
  const line = { minorVersion: match[1] === '1' ? 1 : 0, status: Number(match[2]) } as const;
  if (line.minorVersion === 0 && line.status < 200) {
    throw new ProtocolError('an interim response in HTTP/1.0');
  }
  return line;
}

/**
 * RFC 9112 sections 6.1 to 6.3. Where the standard lets a recipient choose how to read a message
 * that two recipients could read differently, it is refused.
 */
function responseHead({ minorVersion, status }: StatusLine, headers: Header[]): ResponseHead {
  const lengths = valuesOf(headers, 'content-length');
  const codings = valuesOf(headers, 'transfer-encoding');
  if (codings.length > 0) checkTransferEncoding(codings, minorVersion, lengths);
  const connection = valuesOf(headers, 'connection').flatMap(listMembers);
  return {
    status,
    headers,
    contentLength: parseContentLength(lengths),
    isChunked: codings.length > 0,
    willClose:
      connection.includes('close') || (minorVersion === 0 && !connection.includes('keep-alive')),
  };
}

function valuesOf(headers: readonly Header[], name: string): readonly string[] {
  const values: string[] = [];
  for (const [key, value] of headers) {
    // Comparing lengths first spares most headers the lower-casing.
    if (key.length === name.length && key.toLowerCase() === name) values.push(value);
  }
  return values;
}

function checkTransferEncoding(
  codings: readonly string[],
  minorVersion: 0 | 1,
  lengths: readonly string[],
): void {
  if (minorVersion === 0) throw new ProtocolError('a Transfer-Encoding in HTTP/1.0');
  if (lengths.length > 0) throw new ProtocolError('both Transfer-Encoding and Content-Length');
  if (codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked') {
    throw new ProtocolError('a Transfer-Encoding other than chunked');
  }
}

/** Equal copies are refused as well: whoever sends two has let someone else write one of them. */
function parseContentLength(values: readonly string[]): number | null {
  const [value] = values;
  if (value === undefined) return null;
  if (values.length > 1) throw new ProtocolError('more than one Content-Length');
  const length = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(length)) throw new ProtocolError('an invalid Content-Length');
  return length;
}
