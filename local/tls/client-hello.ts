const HANDSHAKE_RECORD = 22;
const RECORD_HEADER_BYTES = 5;
const CLIENT_HELLO = 1;
const MESSAGE_HEADER_BYTES = 4;
const SERVER_NAME_EXTENSION = 0;
const HOST_NAME = 0;
/** More than any client needs: a hello with keys that withstand quantum computers has 2 KiB. */
const BYTES_MAX = 32 * 1024;

/**
 * The server name in the first bytes of a connection (RFC 8446 section 4.1.2, RFC 6066 section 3), as
 * the client wrote it. Empty where there is none, and where the bytes are no such thing: this chooses
 * who does the handshake, and whoever does it reads the bytes again and is the judge of them.
 * @returns null when more bytes are needed to tell
 */
export function serverNameIn(bytes: Buffer): string | null {
  const { message, isOver } = handshakeMessage(bytes);
  if (message.length > 0 && message[0] !== CLIENT_HELLO) return '';
  const more = isOver || bytes.length > BYTES_MAX ? '' : null;
  if (message.length < MESSAGE_HEADER_BYTES) return more;
  const end = MESSAGE_HEADER_BYTES + message.readUIntBE(1, 3);
  if (end > BYTES_MAX) return '';
  if (message.length < end) return more;
  return serverName(new Reader(message.subarray(MESSAGE_HEADER_BYTES, end)));
}

/** What the records carry, up to the end of the bytes or to what is no record of a handshake. */
function handshakeMessage(bytes: Buffer): { readonly message: Buffer; readonly isOver: boolean } {
  const fragments: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] !== HANDSHAKE_RECORD) return { message: Buffer.concat(fragments), isOver: true };
    const start = at + RECORD_HEADER_BYTES;
    if (start > bytes.length) break;
    at = start + bytes.readUInt16BE(start - 2);
    fragments.push(bytes.subarray(start, at));
  }
  return { message: Buffer.concat(fragments), isOver: false };
}

function serverName(hello: Reader): string {
  // legacy_version and random, then legacy_session_id, cipher_suites, legacy_compression_methods.
  hello.take(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  for (const extensions = hello.vector(2); extensions.left > 0; ) {
    const type = extensions.number(2);
    const data = extensions.vector(2);
    if (type !== SERVER_NAME_EXTENSION) continue;
    const names = data.vector(2);
    return names.number(1) === HOST_NAME ? names.vector(2).text() : '';
  }
  return '';
}

/** Reads as TLS writes (RFC 8446 section 3). Beyond the end there is nothing: empty, or zero. */
class Reader {
  #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length;
  }

  take(length: number): Buffer {
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  number(width: number): number {
    const bytes = this.take(width);
    return bytes.length < width ? 0 : bytes.readUIntBE(0, width);
  }

  /** With its length before it, in this many bytes. */
  vector(width: number): Reader {
    return new Reader(this.take(this.number(width)));
  }

  text(): string {
    return this.#bytes.toString('latin1');
  }
}
