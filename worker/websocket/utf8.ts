import { ProtocolError } from './protocol-error.ts';

// A byte order mark is part of the message: a decoder that swallowed it would change the text.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes text of the upstream (RFC 6455 section 8.1). Throws a `ProtocolError`. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new ProtocolError(1007, 'text that is not UTF-8');
  }
}
