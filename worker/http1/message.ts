/** A header as it stands on the wire; the value is latin1, one character a byte. */
export type Header = readonly [name: string, value: string];

/** One request to one upstream. Framing (`Content-Length`, `Connection`, …) is the codec's own. */
export interface UpstreamRequest {
  readonly method: string;
  /** Origin-form, byte for byte: a path and perhaps a query (RFC 9112 section 3.2.1). */
  readonly target: string;
  readonly host: string;
  /** Without those that `isReservedHeader` names: they are refused, never merged. */
  readonly headers: readonly Header[];
  readonly body: ReadableStream<Uint8Array> | null;
  /** The exact length of the body, or null when unknown, which makes it chunked. */
  readonly contentLength: number | null;
  /** The protocol to switch to, such as `websocket`. Excludes a body. */
  readonly upgrade: string | null;
}

/** The answer's head, with a body that is still on its way. */
export interface UpstreamResponse {
  readonly status: number;
  /** As received, in order, hop-by-hop headers and all. */
  readonly headers: readonly Header[];
  /**
   * Null when the answer has none by its status or method, or an empty one. It errors when the
   * upstream breaks off: a body that ends is whole. Cancelling it closes the connection.
   */
  readonly body: ReadableStream<Uint8Array> | null;
  /** The length the upstream declared (of a HEAD's or 304's absent body too), or null. */
  readonly contentLength: number | null;
  /** Set if and only if the status is 101. */
  readonly upgraded: UpgradedConnection | null;
}

/** A connection that speaks another protocol from now on, and belongs to the caller. */
export interface UpgradedConnection {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** What was read past the head: the first bytes of the new protocol. */
  readonly leftover: Uint8Array;
  close(): Promise<void>;
}
