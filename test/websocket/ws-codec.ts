import type { Writable } from 'node:stream';
import * as ws from 'ws';

/** What a reading came to: a list to compare, and the close code of the error that ended it. */
export interface Reading {
  readonly messages: readonly unknown[];
  readonly errorCode: number | null;
}

export interface FrameOptions {
  readonly fin: boolean;
  readonly opcode: number;
  readonly rsv1?: boolean;
  /** Masks the frame, as a client must. */
  readonly maskingKey?: Uint8Array;
}

// Exported by ws for programs like this one, but not by its types.
const { Receiver, Sender } = ws as unknown as {
  readonly Receiver: new (options: {
    readonly isServer: boolean;
    readonly maxPayload: number;
  }) => Writable;
  readonly Sender: {
    frame(payload: Buffer, options: object): Buffer[];
  };
};

/** The independent reading of a stream of frames: what ws makes of it. */
export async function readWithWs(
  bytes: Uint8Array,
  options: { readonly isServer: boolean; readonly maxPayload: number },
): Promise<Reading> {
  const receiver = new Receiver(options);
  const messages: unknown[] = [];
  let errorCode: number | null = null;
  receiver.on('message', (data: Buffer, isBinary: boolean) => {
    messages.push(isBinary ? ['binary', data.toString('hex')] : ['text', data.toString()]);
  });
  receiver.on('ping', (data: Buffer) => messages.push(['ping', data.toString('hex')]));
  receiver.on('pong', (data: Buffer) => messages.push(['pong', data.toString('hex')]));
  receiver.on('conclude', (code: number, reason: Buffer) => {
    messages.push(['close', code, reason.toString()]);
  });
  receiver.on('error', (error) => {
    errorCode = statusCode(error);
  });
  const closed = new Promise((resolve) => receiver.once('close', resolve));
  receiver.end(bytes);
  await closed;
  return { messages, errorCode };
}

/** One frame as ws writes it. */
export function frame(
  payload: Uint8Array,
  { fin, opcode, rsv1 = false, maskingKey }: FrameOptions,
): Buffer {
  const generateMask = (mask: Uint8Array) => mask.set(maskingKey ?? []);
  const mask = maskingKey !== undefined;
  const options = { fin, opcode, rsv1, mask, generateMask, readOnly: true };
  return Buffer.concat(Sender.frame(Buffer.from(payload), options));
}

/** ws keeps the close code of an error under a symbol of its own. */
function statusCode(error: Error): number | null {
  const key = Object.getOwnPropertySymbols(error).find((symbol) => /status/.test(String(symbol)));
  return key ? ((error as unknown as Record<symbol, number>)[key] ?? null) : null;
}
