import type { Wire } from './wire.ts';

/** One HTTP/1.1 message as its bytes said, nothing merged and nothing decoded but the framing. */
export interface Message {
  /** `GET /a HTTP/1.1` or `HTTP/1.1 200 OK`, latin1. */
  readonly startLine: string;
  /** In order; values are latin1, one character a byte. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly framing: 'none' | 'length' | 'chunked' | 'close';
  readonly body: Buffer;
}

export interface ClientMessage extends Message {
  readonly status: number;
  /** The 1xx that came before. */
  readonly interim: readonly number[];
}

export interface ServerMessage extends Message {
  readonly method: string;
  readonly target: string;
}

type Head = Pick<Message, 'startLine' | 'headers'>;

export async function readHead(wire: Wire): Promise<Head> {
  const startLine = await wire.line();
  const headers: [string, string][] = [];
  for (let line = await wire.line(); line !== ''; line = await wire.line()) {
    const colon = line.indexOf(':');
    headers.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
  }
  return { startLine, headers };
}

/** All values of a header, in order; `name` in lower case. */
export function valuesOf({ headers }: Pick<Message, 'headers'>, name: string): readonly string[] {
  return headers.flatMap(([other, value]) => (other.toLowerCase() === name ? [value] : []));
}

/** The one value of a header, or null. Fails when there are several. */
export function valueIn(message: Pick<Message, 'headers'>, name: string): string | null {
  const values = valuesOf(message, name);
  if (values.length > 1) throw new Error(`${values.length} headers ${name}: ${values.join(' | ')}`);
  return values[0] ?? null;
}

/** Lower-case names, sorted. */
export function namesOf({ headers }: Pick<Message, 'headers'>): readonly string[] {
  return [...new Set(headers.map(([name]) => name.toLowerCase()))].sort();
}

export async function readRequest(wire: Wire): Promise<ServerMessage> {
  const head = await readHead(wire);
  const framing = framingOf(head, 'none');
  const [method = '', target = ''] = head.startLine.split(' ');
  return { ...head, method, target, framing, body: await readBody(wire, head, framing) };
}

/** The answer to a request by `method`, and the interim answers before it. */
export async function readResponse(wire: Wire, method = 'GET'): Promise<ClientMessage> {
  const interim: number[] = [];
  for (;;) {
    const head = await readHead(wire);
    const status = Number(/^HTTP\/1\.1 (\d{3})( |$)/.exec(head.startLine)?.[1]);
    if (status >= 100 && status < 200 && status !== 101) {
      interim.push(status);
      continue;
    }
    const bodyless = method === 'HEAD' || status === 204 || status === 304 || status === 101;
    const framing = bodyless ? 'none' : framingOf(head, 'close');
    return { ...head, status, interim, framing, body: await readBody(wire, head, framing) };
  }
}

function framingOf(head: Head, otherwise: Message['framing']): Message['framing'] {
  if (valueIn(head, 'transfer-encoding') !== null) return 'chunked';
  return valueIn(head, 'content-length') === null ? otherwise : 'length';
}

async function readBody(wire: Wire, head: Head, framing: Message['framing']): Promise<Buffer> {
  switch (framing) {
    case 'none':
      return Buffer.alloc(0);
    case 'length':
      return wire.bytes(Number(valueIn(head, 'content-length')));
    case 'close':
      return wire.rest();
    case 'chunked':
      return readChunks(wire);
    default:
      return framing satisfies never;
  }
}

async function readChunks(wire: Wire): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (;;) {
    const size = Number.parseInt(await wire.line(), 16);
    if (Number.isNaN(size)) throw new Error('not a chunk size');
    if (size === 0) break;
    chunks.push(await wire.bytes(size));
    await wire.line();
  }
  while ((await wire.line()) !== '');
  return Buffer.concat(chunks);
}
