import type { Endpoint } from '../../snapshot/types.ts';

/** A byte stream to an endpoint, for one request. */
export interface Connection {
  readonly readable: ReadableStream<Uint8Array>;
  /** A write resolves when its bytes have been taken: their buffer may be used again then. */
  readonly writable: WritableStream<Uint8Array>;
  /** Ends both directions at once. May be called at any time and more than once; never rejects. */
  close(): Promise<void>;
}

export interface Dialer {
  /** Rejects with a `DialError`: nothing was sent, so another endpoint may be tried. */
  dial(endpoint: Endpoint, timeoutMs: number): Promise<Connection>;
}
