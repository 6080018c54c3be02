/**
 * How a connection is failed (RFC 6455 section 7.4.1): a violation of the protocol, text that is
 * not UTF-8, a message too big to handle.
 */
export type ProtocolErrorCode = 1002 | 1007 | 1009;

/** What the upstream sent is not RFC 6455. The message is for the log, never for a peer. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
