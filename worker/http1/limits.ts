/** What one answer may cost us before it has a body. An upstream beyond these is broken or hostile. */
export const LIMITS = {
  /** A status line, a header or a trailer, without its CRLF. */
  LINE_BYTES_MAX: 16 * 1024,
  /** A status line with all its headers. Cloudflare allows a response 128 KB of headers. */
  HEAD_BYTES_MAX: 128 * 1024,
  HEADER_COUNT_MAX: 256,
  /** Heads of 1xx before the answer proper. */
  INTERIM_RESPONSE_COUNT_MAX: 16,
  /** A chunk size is a safe integer with digits to spare: 2^48 bytes are 256 TiB. */
  CHUNK_SIZE_DIGITS_MAX: 12,
  /** Chunk extensions mean nothing to us: the sum over one body, as in Node. */
  CHUNK_EXTENSION_BYTES_MAX: 16 * 1024,
  TRAILER_BYTES_MAX: 16 * 1024,
} as const;
