import { Deadline } from '../dial/deadline.ts';
import type { Connection } from '../dial/dialer.ts';
import { UnansweredError, UpstreamError } from '../dial/upstream-error.ts';
import { type AnswerHead, readAnswerHead } from './answer-head.ts';
import { ByteSource } from './byte-source.ts';
import { responseFraming } from './framing.ts';
import type { UpgradedConnection, UpstreamRequest, UpstreamResponse } from './message.ts';
import { ProtocolError } from './protocol-error.ts';
import { InvalidRequestError, RequestBodyError } from './request-error.ts';
import { encodeRequestHead } from './request-head.ts';
import { responseBody } from './response-body.ts';
import { Upload } from './upload.ts';

export interface ExchangeOptions {
  /**
   * How long the upstream may neither take a byte of the request nor answer: counted while a write
   * waits and from the last byte of the request, not while the client is the slow one.
   */
  readonly responseTimeoutMs: number;
  /** Hears why an answer broke off after its head; all the client sees is a broken transfer. */
  readonly onBodyFailure?: (error: UpstreamError) => void;
}

/**
 * Sends one request and resolves with the head of its answer. Owns the connection: it is closed
 * once the answer's body has ended, failed or been cancelled, and before a rejection. An answer
 * may come before the request has been sent; the rest is sent until the answer has ended.
 *
 * Rejects with `UpstreamError`, which is an `UnansweredError` when the connection ended before a
 * byte of an answer; with `InvalidRequestError` (nothing was sent) when the request cannot be
 * written as HTTP/1.1; with `RequestBodyError` when the client's body failed first.
 */
export async function exchange(
  connection: Connection,
  request: UpstreamRequest,
  options: ExchangeOptions,
): Promise<UpstreamResponse> {
  const deadline = new Deadline(options.responseTimeoutMs);
  let upload: Upload | null = null;
  let source: ByteSource | null = null;
  try {
    upload = new Upload(connection.writable, encodeRequestHead(request), request, deadline);
    source = new ByteSource(connection.readable);
    const answer = await firstOf(readAnswerHead(source, request.upgrade), upload, deadline);
    deadline.stop();
    return await response(answer, request, options, { connection, source, upload });
  } catch (error) {
    deadline.stop();
    upload?.cancel();
    void connection.close();
    throw exchangeError(error, source?.hasBegun ?? false);
  }
}

interface Transfer {
  readonly connection: Connection;
  readonly source: ByteSource;
  readonly upload: Upload;
}

/** The answer's head, unless the client's body fails or the time runs out before. */
function firstOf(
  answer: Promise<AnswerHead>,
  upload: Upload,
  deadline: Deadline,
): Promise<AnswerHead> {
  const failedUpload = upload.finished.then(() => answer);
  const late = deadline.expired.then(() => {
    throw new UpstreamError('timeout', 'no answer in time', { requestSent: true });
  });
  return Promise.race([answer, failedUpload, late]);
}

async function response(
  answer: AnswerHead,
  { method }: UpstreamRequest,
  { onBodyFailure = () => {} }: ExchangeOptions,
  transfer: Transfer,
): Promise<UpstreamResponse> {
  const { status, headers, contentLength } = answer.head;
  if (status === 101) {
    const upgraded = await upgradedConnection(answer, transfer);
    return { status, headers, body: null, contentLength: null, upgraded };
  }
  const framing = responseFraming(method, answer.head);
  const body = responseBody(answer, framing, { ...transfer, onFailure: onBodyFailure });
  // The client's body may fail from here on: then the upstream must see its request break off.
  transfer.upload.finished.catch(() => transfer.connection.close());
  return { status, headers, body, contentLength, upgraded: null };
}

async function upgradedConnection(
  { rest }: AnswerHead,
  { connection, source, upload }: Transfer,
): Promise<UpgradedConnection> {
  await upload.finished;
  upload.releaseWritable();
  source.release();
  const { readable, writable } = connection;
  return { readable, writable, leftover: rest, close: () => connection.close() };
}

/** Whatever else a stream of a connection fails with, the connection is gone. */
function exchangeError(error: unknown, hasAnswerBegun: boolean): Error {
  if (error instanceof UpstreamError && error.kind !== 'reset') return error;
  if (error instanceof InvalidRequestError || error instanceof RequestBodyError) return error;
  const kind = error instanceof ProtocolError ? 'protocol' : 'reset';
  const reason = error instanceof Error ? error.message : String(error);
  if (kind === 'reset' && !hasAnswerBegun) return new UnansweredError(reason, error);
  if (error instanceof UpstreamError) return error;
  return new UpstreamError(kind, reason, { requestSent: true, cause: error });
}
