/** RFC 9113 section 6. */
export const RST_STREAM = 3;
const HEADERS = 1;
const SETTINGS = 4;
const END_HEADERS = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The first bytes of a client that sends a request whose body is to follow, as stream 1. */
export function request(headers: Readonly<Record<string, string>>): Buffer {
  const all = { ':scheme': 'https', ...headers };
  const block = Object.entries(all).map(([name, value]) => literal(name, value));
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(SETTINGS, 0, 0, Buffer.alloc(0)),
    frame(HEADERS, END_HEADERS, 1, Buffer.concat(block)),
  ]);
}

/** RFC 7541 section 6.2.2, with lengths below 127. */
function literal(name: string, value: string): Buffer {
  const text = (it: string) => [Buffer.from([it.length]), Buffer.from(it, 'latin1')];
  return Buffer.concat([Buffer.from([0]), ...text(name), ...text(value)]);
}
