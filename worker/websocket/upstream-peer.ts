import type { UpgradedConnection } from '../http1/message.ts';
import { type Close, encodeClose } from './close.ts';
import type { Ending } from './ending.ts';
import { encodeFrame, Opcode } from './frames.ts';
import { type Message, MessageParser } from './messages.ts';
import { Outbox } from './outbox.ts';
import { ProtocolError } from './protocol-error.ts';

const textEncoder = new TextEncoder();

/** Takes a message of the upstream. The next one is read when the promise resolves. */
type Receiver = (data: string | Uint8Array) => Promise<void>;

/** The upstream's side of a bridge: RFC 6455 on a byte stream, where we are the client. */
export class UpstreamPeer {
  readonly #connection: UpgradedConnection;
  readonly #receive: Receiver;
  readonly #parser = new MessageParser();
  readonly #outbox: Outbox;
  readonly #ended = Promise.withResolvers<Ending>();
  readonly #readToEnd: Promise<void>;
  #isOver = false;
  #isClosed = false;

  /** Begins to read. */
  constructor(connection: UpgradedConnection, receive: Receiver) {
    this.#connection = connection;
    this.#receive = receive;
    this.#outbox = new Outbox(connection.writable);
    this.#readToEnd = this.#read();
  }

  /** Resolves at the upstream's Close frame, when it is gone, or when it cannot go on. */
  get ended(): Promise<Ending> {
    return this.#ended.promise;
  }

  /** Called whenever the upstream has taken a part of what waits for it. */
  set onProgress(listener: () => void) {
    this.#outbox.onProgress = listener;
  }

  send(data: string | Uint8Array): void {
    if (typeof data === 'string') this.#send(Opcode.text, textEncoder.encode(data));
    else this.#send(Opcode.binary, data);
  }

  /** Sends a Close frame after what waits, once. */
  close(close: Close): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#outbox.push(encodeFrame(Opcode.close, encodeClose(close), newMaskingKey()));
  }

  /** Sends a Close frame instead of what waits (RFC 6455 section 7.1.7). */
  fail(code: number): void {
    this.#outbox.clear();
    this.close({ code, reason: '' });
  }

  /**
   * Ends the connection after what waits. After a closing handshake the server goes first (RFC 6455
   * section 7.1.1). What it sends besides is read and dropped: closing a socket with unread bytes
   * resets it, and the reset may overtake our Close frame.
   */
  async finish({ serverFirst }: { readonly serverFirst: boolean }): Promise<void> {
    await this.#outbox.flushed();
    if (serverFirst) await this.#readToEnd;
    await this.#outbox.end();
    await this.#readToEnd;
  }

  #send(opcode: Opcode, payload: Uint8Array): void {
    if (this.#isClosed) return;
    if (!this.#outbox.hasRoom(payload.length)) {
      // 1013, "try again later": a message is lost, so neither side may take this for a good end.
      const cause = 'the upstream reads too slowly';
      this.#end({ kind: 'failed', codes: { client: 1013, upstream: 1013 }, cause });
      return;
    }
    const frame = encodeFrame(opcode, payload, newMaskingKey());
    if (opcode === Opcode.pong) this.#outbox.pushUrgent(frame);
    else this.#outbox.push(frame);
  }

  /** Reads to the end of the stream, also when nobody listens any more. Never rejects. */
  async #read(): Promise<void> {
    const reader = this.#connection.readable.getReader();
    let cause = 'the connection ended without a close frame';
    try {
      await this.#parse(this.#connection.leftover);
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        await this.#parse(part.value);
      }
    } catch (error) {
      cause = String(error);
    }
    this.#end({ kind: 'lost', by: 'upstream', cause });
  }

  async #parse(chunk: Uint8Array): Promise<void> {
    if (this.#isOver) return;
    try {
      for (const message of this.#parser.push(chunk)) await this.#handle(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#isOver = true;
      // 1011 for the client, as 1002, 1007 and 1009 would blame what it has sent itself.
      const codes = { client: 1011, upstream: error.code };
      this.#end({ kind: 'failed', codes, cause: error.message });
    }
  }

  async #handle(message: Message): Promise<void> {
    switch (message.type) {
      case 'text':
      case 'binary':
        return this.#receive(message.data);
      case 'ping':
        return this.#send(Opcode.pong, message.data);
      case 'pong':
        // Unsolicited, as we send no pings: allowed, and nothing to answer (RFC 6455 section 5.5.3).
        return;
      case 'close':
        return this.#end({ kind: 'closed', by: 'upstream', close: message.close });
      default:
        message satisfies never;
    }
  }

  #end(ending: Ending): void {
    this.#ended.resolve(ending);
  }
}

function newMaskingKey(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(4));
}
