import { ChunkedDecoder } from './chunked-decoder.ts';
import type { Framing } from './framing.ts';

/** Finds the content, and its end, in the bytes after a head. */
export interface BodyDecoder {
  /** Whether the body has ended; what follows is nobody's (RFC 9112 section 6.3). */
  readonly isDone: boolean;
  /** Whether the end of the connection is the end of the body. */
  readonly endsWithConnection: boolean;
  /** Reading more than this would read past the body. */
  readonly bytesWanted: number;
  /** The content in `bytes`, perhaps empty: a view of them, and they may be changed for it. */
  decode(bytes: Uint8Array): Uint8Array;
}

export function bodyDecoder(framing: Framing): BodyDecoder {
  switch (framing.kind) {
    case 'none':
      return new LengthDecoder(0);
    case 'length':
      return new LengthDecoder(framing.length);
    case 'chunked':
      return new ChunkedBodyDecoder();
    case 'close':
      return CLOSE_DECODER;
  }
}

class LengthDecoder implements BodyDecoder {
  readonly endsWithConnection = false;
  bytesWanted: number;

  constructor(length: number) {
    this.bytesWanted = length;
  }

  get isDone(): boolean {
    return this.bytesWanted === 0;
  }

  decode(bytes: Uint8Array): Uint8Array {
    const content = bytes.subarray(0, this.bytesWanted);
    this.bytesWanted -= content.length;
    return content;
  }
}

class ChunkedBodyDecoder extends ChunkedDecoder implements BodyDecoder {
  readonly endsWithConnection = false;
  // The last chunk closes the connection, so what lies behind it does not matter.
  readonly bytesWanted = Number.POSITIVE_INFINITY;
}

const CLOSE_DECODER: BodyDecoder = {
  isDone: false,
  endsWithConnection: true,
  bytesWanted: Number.POSITIVE_INFINITY,
  decode: (bytes) => bytes,
};
