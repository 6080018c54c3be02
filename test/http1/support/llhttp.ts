import { createRequire } from 'node:module';

/** What we use of Node's binding to llhttp, which `node:http` reads every message with. */
interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenientFlags: number): void;
  execute(bytes: Buffer): number | Error;
  finish(): Error | undefined;
  [callback: number]: unknown;
}

interface ParserClass {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
}

const require = createRequire(import.meta.url);
const { HTTPParser, methods } = require('node:_http_common') as {
  readonly HTTPParser: ParserClass;
  readonly methods: readonly string[];
};

/** What llhttp knows of methods; it refuses all others. QUERY is not at its index in the list. */
export const LLHTTP_METHODS: readonly string[] = methods.filter((method) => method !== 'QUERY');

export interface Message {
  readonly method: string | null;
  readonly target: string | null;
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  readonly isComplete: boolean;
}

export function readResponse(bytes: Uint8Array, method: string): readonly Message[] {
  return read(HTTPParser.RESPONSE, bytes, method === 'HEAD');
}

export function readRequest(bytes: Uint8Array): readonly Message[] {
  return read(HTTPParser.REQUEST, bytes, false);
}

/** All messages of a stream up to its end or the first error; the last may be incomplete. */
function read(type: number, bytes: Uint8Array, isHead: boolean): readonly Message[] {
  const messages: { -readonly [Key in keyof Message]: Message[Key] }[] = [];
  let early: string[] = [];
  const parser = new HTTPParser();
  parser.initialize(type, {}, 1 << 20, 0);
  parser[HTTPParser.kOnHeaders] = (headers: string[]) => early.push(...headers);
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    flat: string[] | undefined,
    method: number | undefined,
    target: string | undefined,
    status: number | undefined,
  ) => {
    messages.push({
      method: method === undefined ? null : (methods[method] ?? null),
      target: target ?? null,
      status: status ?? 0,
      headers: pairs([...early, ...(flat ?? [])]),
      body: '',
      isComplete: false,
    });
    early = [];
    // As node:http does: 1 for "there is no body, whatever the head says".
    return isHead ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (body: Buffer) => {
    const message = messages.at(-1);
    if (message) message.body += body.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    const message = messages.at(-1);
    if (message) message.isComplete = true;
  };
  if (!(parser.execute(Buffer.from(bytes)) instanceof Error)) parser.finish();
  return messages;
}

function pairs(flat: readonly string[]): (readonly [string, string])[] {
  return Array.from({ length: flat.length / 2 }, (_, index) => [
    flat[2 * index] ?? '',
    flat[2 * index + 1] ?? '',
  ]);
}
