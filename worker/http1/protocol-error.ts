/** The upstream's bytes are not HTTP/1.1, or could be read in two ways. For the log only. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}
