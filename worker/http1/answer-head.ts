import { UpstreamError } from '../dial/upstream-error.ts';
import type { ByteSource } from './byte-source.ts';
import { listMembers } from './grammar.ts';
import { LIMITS } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';
import { type ResponseHead, ResponseHeadReader } from './response-head.ts';

/** Small answers arrive whole with their head in one read of this size. */
const READ_BYTES = 16 * 1024;

export interface AnswerHead {
  readonly head: ResponseHead;
  /** What was read past the head. */
  readonly rest: Uint8Array;
}

/**
 * Reads up to the head of the answer proper: 1xx are skipped (RFC 9110 section 15.2), but for the
 * 101 that was asked for.
 */
export async function readAnswerHead(
  source: ByteSource,
  upgrade: string | null,
): Promise<AnswerHead> {
  let reader = new ResponseHeadReader();
  let interimCount = 0;
  let bytes = await readSome(source, 'before an answer');
  let from = 0;
  for (;;) {
    const found = reader.read(bytes, from);
    if (found === null) {
      bytes = await readSome(source, 'within the head of an answer');
      from = 0;
      continue;
    }
    const { head, next } = found;
    if (head.status === 101) checkUpgrade(head, upgrade);
    if (head.status === 101 || head.status >= 200) return { head, rest: bytes.subarray(next) };
    interimCount += 1;
    if (interimCount > LIMITS.INTERIM_RESPONSE_COUNT_MAX) {
      throw new ProtocolError('too many interim responses');
    }
    reader = new ResponseHeadReader();
    from = next;
  }
}

async function readSome(source: ByteSource, when: string): Promise<Uint8Array> {
  const bytes = await source.read(READ_BYTES);
  if (bytes !== null) return bytes;
  throw new UpstreamError('reset', `the upstream closed the connection ${when}`, {
    requestSent: true,
  });
}

/** RFC 9110 section 7.8: a server switches only to what was offered, and says so in both headers. */
function checkUpgrade({ headers }: ResponseHead, upgrade: string | null): void {
  if (upgrade === null) throw new ProtocolError('a 101 that nobody asked for');
  const names = (name: string, member: string): boolean =>
    headers.some(
      ([key, value]) => key.toLowerCase() === name && listMembers(value).includes(member),
    );
  if (!names('connection', 'upgrade') || !names('upgrade', upgrade.toLowerCase())) {
    throw new ProtocolError(`a 101 that does not switch to ${upgrade}`);
  }
}
