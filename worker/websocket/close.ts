import { ProtocolError } from './protocol-error.ts';
import { decodeUtf8 } from './utf8.ts';

/** What a Close frame says. `NO_CODE` stands for a Close frame without a body. */
export interface Close {
  readonly code: number;
  readonly reason: string;
}

/** "No status code present": for APIs, never on the wire (RFC 6455 section 7.4.1). */
export const NO_CODE = 1005;

/** A control frame's payload is at most 125 bytes, of which the code takes two (section 5.5). */
const REASON_BYTES_MAX = 123;

/**
 * Whether an endpoint may send this code (RFC 6455 section 7.4, and the IANA registry for 1012 to
 * 1014, which came later). Not 1004, 1005, 1006 and 1015, and nothing from the unassigned ranges.
 */
export function isCloseCode(code: number): boolean {
  if (code >= 3000 && code <= 4999) return true;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/**
 * Reads the payload of a Close frame (RFC 6455 section 5.5.1), of any length but one. Throws a
 * `ProtocolError`.
 */
export function decodeClose(payload: Uint8Array): Close {
  const [high = 0, low = 0] = payload;
  if (payload.length === 0) return { code: NO_CODE, reason: '' };
  const code = high * 256 + low;
  if (!isCloseCode(code)) throw new ProtocolError(1002, `close code ${code}`);
  return { code, reason: decodeUtf8(payload.subarray(2)) };
}

/** Writes the payload of a Close frame. A reason that does not fit is cut between characters. */
export function encodeClose({ code, reason }: Close): Uint8Array {
  if (code === NO_CODE) return new Uint8Array(0);
  if (!isCloseCode(code)) throw new RangeError(`close code ${code} must not be sent`);
  const payload = new Uint8Array(2 + REASON_BYTES_MAX);
  payload[0] = code >> 8;
  payload[1] = code & 0xff;
  const { written } = new TextEncoder().encodeInto(reason, payload.subarray(2));
  return payload.subarray(0, 2 + written);
}
