import type { Connection } from '../dial/dialer.ts';
import { UpstreamError } from '../dial/upstream-error.ts';
import type { AnswerHead } from './answer-head.ts';
import { type BodyDecoder, bodyDecoder } from './body-decoder.ts';
import { type BodyStream, bodyStream, wholeBody } from './body-stream.ts';
import type { ByteSource } from './byte-source.ts';
import type { Framing } from './framing.ts';
import { ProtocolError } from './protocol-error.ts';
import type { Upload } from './upload.ts';

const READ_BYTES = 64 * 1024;

/** Below this, setting up a native pipe costs more than it spares. */
const NATIVE_BYTES_MIN = 256 * 1024;

export interface BodyContext {
  readonly connection: Connection;
  readonly source: ByteSource;
  readonly upload: Upload;
  /** Hears of an upstream that broke off: the client sees only that. */
  readonly onFailure: (error: UpstreamError) => void;
}

/** The body that follows a head. Throws ProtocolError when what came with the head breaks it. */
export function responseBody(
  answer: AnswerHead,
  framing: Framing,
  context: BodyContext,
): ReadableStream<Uint8Array> | null {
  const decoder = bodyDecoder(framing);
  const content = decoder.decode(answer.rest);
  if (decoder.isDone) {
    finish(context);
    return wholeBody(content);
  }
  const stream = bodyStream(framing.kind === 'length' ? framing.length : null);
  const transfer = canPipe(answer, decoder, framing, stream, context)
    ? pipe(content, stream, context)
    : pump(content, decoder, stream, context);
  // Neither rejects: a failure is the client's to see, or was the client's doing.
  void transfer.then(() => finish(context));
  return stream.readable;
}

/** The answer is complete, or nobody wants it: the rest of the request is for nothing. */
function finish({ connection, upload }: BodyContext): void {
  upload.cancel();
  void connection.close();
}

/**
 * A pipe ends when the connection does, and cannot stop at a length. So it serves bodies that end
 * with the connection, by their framing or by the upstream's promise, and that nothing else in
 * this exchange may have to end.
 */
function canPipe(
  { head }: AnswerHead,
  decoder: BodyDecoder,
  framing: Framing,
  stream: BodyStream,
  { upload }: BodyContext,
): boolean {
  if (!stream.isNative || !upload.isFinished) return false;
  if (framing.kind === 'close') return true;
  return framing.kind === 'length' && head.willClose && decoder.bytesWanted >= NATIVE_BYTES_MIN;
}

/**
 * Lets the runtime move the bytes. A body that is too short or too long breaks off at the
 * `FixedLengthStream`, without our hearing of it.
 */
async function pipe(content: Uint8Array, stream: BodyStream, context: BodyContext): Promise<void> {
  try {
    const writer = stream.writable.getWriter();
    writer.closed.catch(() => {});
    if (content.length > 0) await writer.write(content);
    writer.releaseLock();
    context.source.release();
    await context.connection.readable.pipeTo(stream.writable);
  } catch (error) {
    context.onFailure(bodyFailure(error));
  }
}

/** Moves the bytes ourselves, as fast as the client takes them. */
async function pump(
  content: Uint8Array,
  decoder: BodyDecoder,
  stream: BodyStream,
  context: BodyContext,
): Promise<void> {
  const writer = stream.writable.getWriter();
  let isWanted = true;
  writer.closed.catch(() => {
    isWanted = false;
    // The upstream may be silent for long: this ends the read that waits for it.
    finish(context);
  });
  let bytes: Uint8Array | null = null;
  try {
    for (;;) {
      if (content.length > 0) await writer.write(content);
      if (bytes !== null && stream.isNative) context.source.recycle(bytes);
      if (decoder.isDone) break;
      try {
        bytes = await readBody(decoder, context);
        if (bytes === null) break;
        content = decoder.decode(bytes);
      } catch (error) {
        const failure = bodyFailure(error);
        if (isWanted) context.onFailure(failure);
        return await writer.abort(failure);
      }
      if (decoder.isDone) finish(context);
    }
    await writer.close();
  } catch {
    // The client wants no more.
  }
}

/** The next bytes of the body, or null where the end of the connection is its end. */
async function readBody(decoder: BodyDecoder, context: BodyContext): Promise<Uint8Array | null> {
  const bytes = await context.source.read(Math.min(decoder.bytesWanted, READ_BYTES));
  if (bytes !== null) return bytes;
  // An upload that failed closes the connection, which is not the upstream's way of ending a body.
  if (decoder.endsWithConnection && !context.upload.hasFailed) return null;
  throw new Error('the connection ended within the body');
}

function bodyFailure(cause: unknown): UpstreamError {
  const kind = cause instanceof ProtocolError ? 'protocol' : 'reset';
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new UpstreamError(kind, `the answer broke off: ${reason}`, { requestSent: true, cause });
}
