import { isFieldValue, isToken, trimBlanks } from './grammar.ts';
import { isReservedHeader } from './header-names.ts';
import type { UpstreamRequest } from './message.ts';
import { InvalidRequestError } from './request-error.ts';

/**
 * The head of a request as bytes. What cannot be written so that every recipient reads the same is
 * refused (RFC 9112 section 11): nothing is repaired, as a repair would be a second opinion on
 * what was matched. Throws InvalidRequestError, whose messages quote no values.
 */
export function encodeRequestHead(request: UpstreamRequest): Uint8Array {
  const { method, target, host, headers } = request;
  // A tunnel (RFC 9110 section 9.3.6) has another target form and another framing of the answer.
  if (!isToken(method) || method === 'CONNECT') throw new InvalidRequestError('an invalid method');
  if (!isOriginForm(target, method)) throw new InvalidRequestError('an invalid request target');
  if (!HOST.test(host)) throw new InvalidRequestError('an invalid host');
  let head = `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n`;
  for (const [name, value] of headers) {
    checkHeader(name, value);
    head += `${name}: ${value}\r\n`;
  }
  return latin1Bytes(`${head}${framingLines(request)}\r\n`);
}

/** RFC 9112 sections 3.2.1 and 3.2.4, in any visible characters: the bytes are the client's. */
function isOriginForm(target: string, method: string): boolean {
  return /^\/[\x21-\x7e]*$/.test(target) || (target === '*' && method === 'OPTIONS');
}

/** `uri-host [":" port]` (RFC 9110 section 7.2): a registered name or an IPv4 address, or `[IPv6]`. */
const HOST = /^(?:[A-Za-z0-9\-._~!$&'()*+;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/;

function checkHeader(name: string, value: string): void {
  if (!isToken(name)) throw new InvalidRequestError('an invalid header name');
  if (isReservedHeader(name.toLowerCase())) {
    throw new InvalidRequestError(`the header ${name} is the codec's to write`);
  }
  if (!isFieldValue(value) || trimBlanks(value) !== value) {
    throw new InvalidRequestError(`an invalid value of the header ${name}`);
  }
}

/** Methods whose content has a meaning: without any they say so (RFC 9110 section 8.6). */
const METHODS_WITH_CONTENT: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** RFC 9112 section 6: one of the two framing headers or none, and what becomes of the connection. */
function framingLines({ method, body, contentLength, upgrade }: UpstreamRequest): string {
  if (contentLength !== null && !(Number.isSafeInteger(contentLength) && contentLength >= 0)) {
    throw new InvalidRequestError('an invalid content length');
  }
  if (body === null && contentLength) throw new InvalidRequestError('a length without a body');
  if (upgrade !== null) {
    if (body !== null) throw new InvalidRequestError('a body with an upgrade');
    if (!isToken(upgrade)) throw new InvalidRequestError('an invalid protocol to upgrade to');
    return `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`;
  }
  if (body !== null && contentLength === null) {
    return 'Transfer-Encoding: chunked\r\nConnection: close\r\n';
  }
  if (contentLength !== null || METHODS_WITH_CONTENT.has(method)) {
    return `Content-Length: ${contentLength ?? 0}\r\nConnection: close\r\n`;
  }
  return 'Connection: close\r\n';
}

/** One byte a character; the grammar has let nothing beyond 0xff through. */
function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  const { read, written } = TEXT_ENCODER.encodeInto(text, bytes);
  if (read === text.length && written === text.length) return bytes;
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}

const TEXT_ENCODER = new TextEncoder();
