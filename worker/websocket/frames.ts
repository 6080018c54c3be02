import { ProtocolError } from './protocol-error.ts';

/** RFC 6455 section 5.2. */
export const Opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;

export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** Two bytes, and eight more when the length is a 64-bit one. Servers send no masking key. */
export const HEADER_BYTES_MAX = 10;

const CONTROL_PAYLOAD_BYTES_MAX = 125;
const OPCODES: ReadonlySet<number> = new Set(Object.values(Opcode));

/** The head of a frame from a server. */
export interface FrameHeader {
  readonly final: boolean;
  readonly opcode: Opcode;
  /** Infinity beyond what a number holds exactly: too big for any limit. */
  readonly payloadBytes: number;
}

export function isControl(opcode: Opcode): boolean {
  return opcode >= Opcode.close;
}

/** How long the header is that begins with these bytes, as far as they tell. */
export function headerBytes(start: Uint8Array): number {
  const [, second] = start;
  if (second === undefined) return 2;
  const length = second & 0x7f;
  return length < 126 ? 2 : length === 126 ? 4 : HEADER_BYTES_MAX;
}

/**
 * The opcode of the frame that begins with these two bytes. Throws a `ProtocolError` for what no
 * server may send: a reserved bit (we offer no extensions), an unknown opcode, a mask, a control
 * frame that is fragmented or long, half a close code (RFC 6455 sections 5.1, 5.2 and 5.5).
 */
export function decodeOpcode([first = 0, second = 0]: Uint8Array): Opcode {
  const opcode = first & 0x0f;
  const length = second & 0x7f;
  if (first & 0x70) throw new ProtocolError(1002, 'a reserved bit without an extension');
  if (!isOpcode(opcode)) throw new ProtocolError(1002, `opcode ${opcode}`);
  if (second & 0x80) throw new ProtocolError(1002, 'a masked frame from a server');
  if (isControl(opcode)) {
    if (!(first & 0x80)) throw new ProtocolError(1002, 'a fragmented control frame');
    if (length > CONTROL_PAYLOAD_BYTES_MAX) throw new ProtocolError(1002, 'a long control frame');
  }
  if (opcode === Opcode.close && length === 1) throw new ProtocolError(1002, 'half a close code');
  return opcode;
}

/**
 * Reads a whole header, as `headerBytes` measures it. A length in more bytes than it needs is
 * accepted, against the letter of RFC 6455 section 5.2: it means only one thing, and other
 * implementations accept it too.
 */
export function decodeHeader(header: Uint8Array): FrameHeader {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const payloadBytes = readLength(view, view.getUint8(1) & 0x7f);
  return { final: view.getUint8(0) >= 0x80, opcode: decodeOpcode(header), payloadBytes };
}

/** A frame as it goes out. In two parts, so that a large payload is never copied. */
export interface Frame {
  readonly head: Uint8Array;
  readonly payload: Uint8Array;
}

/**
 * One final frame from us, the client. Masks the payload where it is: it belongs to the frame from
 * now on. The key must be unpredictable (RFC 6455 section 10.3).
 */
export function encodeFrame(opcode: Opcode, payload: Uint8Array, maskingKey: Uint8Array): Frame {
  const length = payload.length;
  const extended = length < 126 ? 0 : length < 0x1_0000 ? 2 : 8;
  const head = new Uint8Array(2 + extended + 4);
  const view = new DataView(head.buffer);
  view.setUint8(0, 0x80 | opcode);
  view.setUint8(1, 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127));
  if (extended === 2) view.setUint16(2, length);
  if (extended === 8) view.setBigUint64(2, BigInt(length));
  head.set(maskingKey, 2 + extended);
  mask(payload, maskingKey);
  return { head, payload };
}

/** RFC 6455 section 5.3, four bytes at a time where they are aligned. */
function mask(bytes: Uint8Array, key: Uint8Array): void {
  const start = Math.min(-bytes.byteOffset & 3, bytes.length);
  const end = bytes.length - ((bytes.length - start) & 3);
  maskBytes(bytes, key, 0, start);
  if (end > start) maskWords(bytes.subarray(start, end), key, start);
  maskBytes(bytes, key, end, bytes.length);
}

function maskWords(bytes: Uint8Array, key: Uint8Array, offset: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  // The key as the first word meets it, in the byte order of the machine, as the words are.
  const rotated = Uint8Array.from(key, (_, i) => key[(offset + i) & 3] as number);
  const [keyWord = 0] = new Uint32Array(rotated.buffer);
  // `as number`: a `?? 0` would be a branch for each word. The indices are within the arrays.
  for (let i = 0; i < words.length; i++) words[i] = (words[i] as number) ^ keyWord;
}

function maskBytes(bytes: Uint8Array, key: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) bytes[i] = (bytes[i] as number) ^ (key[i & 3] as number);
}

function readLength(view: DataView, length: number): number {
  if (length < 126) return length;
  if (length === 126) return view.getUint16(2);
  const long = view.getBigUint64(2);
  // Also the lengths with the highest bit set, which section 5.2 forbids: too big in any case.
  return long > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(long);
}

function isOpcode(value: number): value is Opcode {
  return OPCODES.has(value);
}
