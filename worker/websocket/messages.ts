import { type Close, decodeClose } from './close.ts';
import {
  decodeHeader,
  decodeOpcode,
  type FrameHeader,
  HEADER_BYTES_MAX,
  headerBytes,
  isControl,
  Opcode,
} from './frames.ts';
import { Payload } from './payload.ts';
import { ProtocolError } from './protocol-error.ts';
import { decodeUtf8 } from './utf8.ts';

/** The longest message that workerd takes from a client, and so what passes in both directions. */
export const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

/** A whole message of the upstream, or a control frame. */
export type Message =
  | { readonly type: 'text'; readonly data: string }
  | { readonly type: 'binary' | 'ping' | 'pong'; readonly data: Uint8Array }
  | { readonly type: 'close'; readonly close: Close };

/**
 * Reads what a server sends (RFC 6455 section 5), however it is cut into chunks, and puts fragmented
 * messages together: a `WebSocketPair` knows only whole ones.
 */
export class MessageParser {
  readonly #messageBytesMax: number;
  readonly #header = new Uint8Array(HEADER_BYTES_MAX);
  #headerLength = 0;
  #frame: FrameHeader | null = null;
  /** What the current frame still lacks. */
  #missing = 0;
  /** The payload of a control frame: it may come between the fragments of a message. */
  #control = new Payload();
  #message = new Payload();
  /** What the fragments so far are of; null outside a fragmented message. */
  #fragmented: 'text' | 'binary' | null = null;
  #closed = false;

  constructor(messageBytesMax = MESSAGE_BYTES_MAX) {
    this.#messageBytesMax = messageBytesMax;
  }

  /**
   * The messages that this chunk completes. Take all of them before the next chunk. Throws a
   * `ProtocolError`, after which the parser is of no more use. What follows a Close frame is ignored
   * (section 5.5.1). The chunk must not be changed later: a message may be a view of it.
   */
  *push(chunk: Uint8Array): Generator<Message, void, undefined> {
    let rest = chunk;
    while (!this.#closed) {
      if (this.#frame === null) rest = this.#readHeader(rest);
      if (this.#frame === null) return;
      rest = this.#readPayload(this.#frame, rest);
      if (this.#missing > 0) return;
      const message = this.#endFrame(this.#frame);
      this.#frame = null;
      if (message !== null) yield message;
    }
  }

  #readHeader(chunk: Uint8Array): Uint8Array {
    let rest = chunk;
    let start = this.#header.subarray(0, this.#headerLength);
    for (let n = headerBytes(start); n > start.length; n = headerBytes(start)) {
      const part = rest.subarray(0, n - start.length);
      if (part.length === 0) return rest;
      this.#header.set(part, start.length);
      start = this.#header.subarray(0, start.length + part.length);
      this.#headerLength = start.length;
      rest = rest.subarray(part.length);
      // A wrong frame is refused at once: its sender may wait for us before it sends the rest.
      if (start.length === 2) this.#checkOrder(decodeOpcode(start));
    }
    this.#headerLength = 0;
    this.#beginFrame(decodeHeader(start));
    return rest;
  }

  /** RFC 6455 section 5.4. */
  #checkOrder(opcode: Opcode): void {
    const isInside = this.#fragmented !== null;
    if (opcode === Opcode.continuation && !isInside) {
      throw new ProtocolError(1002, 'a continuation of nothing');
    }
    if (opcode !== Opcode.continuation && !isControl(opcode) && isInside) {
      throw new ProtocolError(1002, 'a new message inside a fragmented one');
    }
  }

  #beginFrame(frame: FrameHeader): void {
    const { opcode, payloadBytes } = frame;
    if (!isControl(opcode) && this.#message.length + payloadBytes > this.#messageBytesMax) {
      throw new ProtocolError(1009, `a message of more than ${this.#messageBytesMax} bytes`);
    }
    if (opcode === Opcode.text) this.#fragmented = 'text';
    if (opcode === Opcode.binary) this.#fragmented = 'binary';
    this.#frame = frame;
    this.#missing = payloadBytes;
  }

  #readPayload(frame: FrameHeader, chunk: Uint8Array): Uint8Array {
    const part = chunk.subarray(0, this.#missing);
    const payload = isControl(frame.opcode) ? this.#control : this.#message;
    this.#missing -= part.length;
    payload.append(part, this.#missing);
    return chunk.subarray(part.length);
  }

  #endFrame({ final, opcode }: FrameHeader): Message | null {
    if (isControl(opcode)) return this.#endControl(opcode, this.#control.take());
    if (!final) return null;
    const data = this.#message.take();
    const type = this.#fragmented;
    this.#fragmented = null;
    return type === 'text' ? { type, data: decodeUtf8(data) } : { type: 'binary', data };
  }

  #endControl(opcode: Opcode, data: Uint8Array): Message {
    if (opcode === Opcode.ping) return { type: 'ping', data };
    if (opcode === Opcode.pong) return { type: 'pong', data };
    this.#closed = true;
    return { type: 'close', close: decodeClose(data) };
  }
}
