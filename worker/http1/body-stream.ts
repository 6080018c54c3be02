/** A pipe through which a body goes to the client. A write resolves when its bytes have been taken. */
export interface BodyStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Whether it is the runtime's own: then bytes are copied as they are taken, and sockets can be
   * piped into it without waking JavaScript for every piece.
   */
  readonly isNative: boolean;
}

type NativeStream = Pick<BodyStream, 'readable' | 'writable'>;

/** What workerd has and Node has not. */
interface NativeStreams {
  readonly FixedLengthStream?: new (length: number) => NativeStream;
  readonly IdentityTransformStream?: new () => NativeStream;
}

/**
 * A response whose body comes through a `FixedLengthStream` has a `Content-Length` in workerd, and
 * breaks off if the body is shorter; other streams go out chunked.
 */
export function bodyStream(length: number | null): BodyStream {
  const { FixedLengthStream, IdentityTransformStream } = globalThis as unknown as NativeStreams;
  if (FixedLengthStream && IdentityTransformStream) {
    const stream = length === null ? new IdentityTransformStream() : new FixedLengthStream(length);
    return { readable: stream.readable, writable: stream.writable, isNative: true };
  }
  // Nothing is taken from the upstream before the client asks for it.
  const eager = { highWaterMark: 1 };
  const lazy = { highWaterMark: 0 };
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({}, eager, lazy);
  return { readable, writable, isNative: false };
}

/** A body that is all there. */
export function wholeBody(bytes: Uint8Array): ReadableStream<Uint8Array> | null {
  return bytes.length === 0 ? null : new Response(bytes as Uint8Array<ArrayBuffer>).body;
}
