import { UpstreamError } from '../dial/upstream-error.ts';
import type { Header } from '../http1/message.ts';

/** What we asked of the upstream, and what its answer must fit. */
export interface Handshake {
  /** The value of `Sec-WebSocket-Key`. */
  readonly key: string;
  /** The subprotocols that the client offers, in its order of preference. */
  readonly protocols: readonly string[];
  /** All headers of the request to the upstream. */
  readonly headers: readonly Header[];
}

const NONCE_BYTES = 16;
const HANDSHAKE_HEADER = 'sec-websocket-';
/** What makes a server's answer one to a WebSocket client (RFC 6455 section 1.3). */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Whether a client asks for a WebSocket (RFC 6455 section 4.2.1, as far as a Worker sees it). */
export function isWebSocketRequest(request: {
  readonly method: string;
  readonly headers: { get(name: string): string | null };
}): boolean {
  return (
    request.method === 'GET' && request.headers.get('upgrade')?.trim().toLowerCase() === 'websocket'
  );
}

/**
 * Turns a client's handshake into ours (RFC 6455 section 4.1): `copied` are the client's headers as
 * they go to any upstream. The key is a fresh one, as the client's is answered by the runtime.
 * Extensions are never offered: we would have to speak them.
 *
 * `Upgrade` and `Connection` are the codec's to write.
 */
export function offerHandshake(
  copied: readonly Header[],
  nonce: Uint8Array = crypto.getRandomValues(new Uint8Array(NONCE_BYTES)),
): Handshake {
  const key = base64(nonce);
  const protocols = values(copied, 'sec-websocket-protocol').flatMap(listItems);
  const headers = copied.filter(([name]) => !isHandshakeHeader(name));
  headers.push(['sec-websocket-version', '13'], ['sec-websocket-key', key]);
  if (protocols.length > 0) headers.push(['sec-websocket-protocol', protocols.join(', ')]);
  return { key, protocols, headers };
}

/**
 * Checks the headers of a 101 (RFC 6455 section 4.1, the list at its end) and resolves with those for
 * the client: the upstream's own, the chosen subprotocol among them. Rejects with an `UpstreamError`;
 * the connection is then to be closed.
 */
export async function verifyHandshake(
  { key, protocols }: Handshake,
  answer: readonly Header[],
): Promise<readonly Header[]> {
  const upgrade = values(answer, 'upgrade').join(', ').toLowerCase();
  if (upgrade !== 'websocket') throw broken(`Upgrade is '${upgrade}'`);

  const connection = values(answer, 'connection').flatMap(listItems);
  if (!connection.some((token) => token.toLowerCase() === 'upgrade')) {
    throw broken(`Connection is '${connection.join(', ')}'`);
  }

  const accept = values(answer, 'sec-websocket-accept').join(', ');
  if (accept !== (await acceptValue(key)))
    throw broken('Sec-WebSocket-Accept does not fit the key');

  const extensions = values(answer, 'sec-websocket-extensions').flatMap(listItems);
  if (extensions.length > 0) throw broken(`extension '${extensions.join(', ')}' was not offered`);

  const chosen = values(answer, 'sec-websocket-protocol');
  const [protocol] = chosen;
  if (chosen.length > 1) throw broken('more than one subprotocol');
  if (protocol !== undefined && !protocols.includes(protocol)) {
    throw broken(`subprotocol '${protocol}' was not offered`);
  }
  return answer.filter(([name]) => isForClient(name));
}

/** The answer that proves a server has read our key (RFC 6455 section 4.2.2, item 5.4). */
export async function acceptValue(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(key + ACCEPT_GUID);
  return base64(new Uint8Array(await crypto.subtle.digest('SHA-1', bytes)));
}

/** The runtime writes its own handshake to the client, but cannot know the subprotocol. */
function isForClient(name: string): boolean {
  return !isHandshakeHeader(name) || name.toLowerCase() === 'sec-websocket-protocol';
}

function isHandshakeHeader(name: string): boolean {
  return name.toLowerCase().startsWith(HANDSHAKE_HEADER);
}

function values(headers: readonly Header[], name: string): string[] {
  return headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value.trim());
}

/** The items of `#token` (RFC 9110 section 5.6.1): empty ones do not count. */
function listItems(value: string): string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function broken(message: string): UpstreamError {
  return new UpstreamError('protocol', `WebSocket handshake: ${message}`, { requestSent: true });
}
