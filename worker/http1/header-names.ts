/**
 * Headers about one connection, which a gateway consumes (RFC 9110 section 7.6.1). Those that the
 * `Connection` header itself names come on top. Lower-case.
 */
const HOP_BY_HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Takes a lower-case name. */
export function isHopByHopHeader(name: string): boolean {
  return HOP_BY_HOP_HEADERS.has(name);
}

/**
 * Whether the codec alone writes this header of a request (or, `Expect`, never does, as it does
 * not wait for a 100). Takes a lower-case name.
 */
export function isReservedHeader(name: string): boolean {
  return (
    isHopByHopHeader(name) || name === 'host' || name === 'content-length' || name === 'expect'
  );
}
