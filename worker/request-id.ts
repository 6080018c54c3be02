/** Identifies one request, here and in the logs of whoever it is forwarded to. */
export interface RequestId {
  /** 32 hexadecimal digits; also the trace id of {@link RequestId.traceparent}. */
  readonly id: string;
  /** W3C Trace Context, version 00, sampled. The client's own is not trusted, so each starts here. */
  readonly traceparent: string;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function newRequestId(): RequestId {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  let hex = '';
  for (const byte of bytes) hex += HEX[byte];
  const id = hex.slice(0, 32);
  return { id, traceparent: `00-${id}-${hex.slice(32)}-01` };
}
