import { describe, expect, test } from 'vitest';
import { UpstreamError } from '../../worker/dial/upstream-error.ts';
import type { Header } from '../../worker/http1/message.ts';
import {
  isWebSocketRequest,
  offerHandshake,
  verifyHandshake,
} from '../../worker/websocket/handshake.ts';

/** The example of RFC 6455 section 1.3. */
const NONCE = new TextEncoder().encode('the sample nonce');
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

const GOOD: Readonly<Record<string, string>> = {
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Accept': ACCEPT,
};

describe('offerHandshake', () => {
  test('replaces the handshake of the client by ours and keeps all else', () => {
    const { key, protocols, headers } = offerHandshake(
      [
        ['cookie', 'a=b'],
        ['sec-websocket-key', 'of the client'],
        ['sec-websocket-version', '8'],
        ['sec-websocket-extensions', 'permessage-deflate'],
        ['sec-websocket-protocol', 'v2.chat, ,v1.chat'],
        ['origin', 'https://app.example'],
      ],
      NONCE,
    );
    expect(key).toBe(KEY);
    expect(protocols).toEqual(['v2.chat', 'v1.chat']);
    expect(headers).toEqual([
      ['cookie', 'a=b'],
      ['origin', 'https://app.example'],
      ['sec-websocket-version', '13'],
      ['sec-websocket-key', KEY],
      ['sec-websocket-protocol', 'v2.chat, v1.chat'],
    ]);
  });

  test('sends a fresh key of 16 bytes each time, and no empty list of subprotocols', () => {
    const [one, two] = [offerHandshake([]), offerHandshake([])];
    expect(one.key).not.toBe(two.key);
    expect(atob(one.key)).toHaveLength(16);
    expect(one.headers.map(([name]) => name)).toEqual([
      'sec-websocket-version',
      'sec-websocket-key',
    ]);
  });
});

describe('verifyHandshake', () => {
  test('accepts the example of the RFC, and leaves the runtime its own headers', async () => {
    const answer: Header[] = [
      ...Object.entries(GOOD),
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
      ['Sec-WebSocket-Protocol', 'chat'],
    ];
    expect(await verify(answer, 'superchat, chat')).toEqual([
      ['Upgrade', 'websocket'],
      ['Connection', 'Upgrade'],
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
      ['Sec-WebSocket-Protocol', 'chat'],
    ]);
  });

  test('compares the tokens of Upgrade and Connection without case', async () => {
    const answer = answering({ Upgrade: 'WebSocket', Connection: 'keep-alive, UPGRADE' });
    await expect(verify(answer)).resolves.toBeDefined();
  });

  test('accepts that the server chooses no subprotocol', async () => {
    await expect(verify(answering({}), 'chat')).resolves.toBeDefined();
  });

  test.each([
    ['no Upgrade', answering({ Upgrade: null })],
    ['another Upgrade', answering({ Upgrade: 'h2c' })],
    ['two Upgrades', answering({ Upgrade: 'websocket, h2c' })],
    ['no Connection', answering({ Connection: null })],
    ['another Connection', answering({ Connection: 'upgraded' })],
    ['no Accept', answering({ 'Sec-WebSocket-Accept': null })],
    [
      'an Accept for another key',
      answering({ 'Sec-WebSocket-Accept': `${ACCEPT.slice(0, -2)}==` }),
    ],
    ['an Accept in another case', answering({ 'Sec-WebSocket-Accept': ACCEPT.toLowerCase() })],
    ['two Accepts', [...answering({}), ['sec-websocket-accept', ACCEPT]] as Header[]],
    ['an extension', answering({ 'Sec-WebSocket-Extensions': 'permessage-deflate' })],
    ['a subprotocol not offered', answering({ 'Sec-WebSocket-Protocol': 'soap' })],
    ['a subprotocol in another case', answering({ 'Sec-WebSocket-Protocol': 'Chat' })],
    ['a list of subprotocols', answering({ 'Sec-WebSocket-Protocol': 'chat, superchat' })],
    [
      'two subprotocols',
      [
        ...answering({ 'Sec-WebSocket-Protocol': 'chat' }),
        ['Sec-WebSocket-Protocol', 'chat'],
      ] as Header[],
    ],
  ])('refuses %s', async (_, answer) => {
    const error = await verify(answer, 'chat, superchat').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UpstreamError);
    expect(error).toMatchObject({ kind: 'protocol', requestSent: true });
  });
});

test('a WebSocket request is a GET with Upgrade: websocket', () => {
  const headers = new Headers({ upgrade: 'WebSocket' });
  expect(isWebSocketRequest({ method: 'GET', headers })).toBe(true);
  expect(isWebSocketRequest({ method: 'POST', headers })).toBe(false);
  expect(isWebSocketRequest({ method: 'GET', headers: new Headers() })).toBe(false);
  expect(isWebSocketRequest({ method: 'GET', headers: new Headers({ upgrade: 'h2c' }) })).toBe(
    false,
  );
});

function answering(changes: Readonly<Record<string, string | null>>): Header[] {
  const headers: Header[] = [];
  for (const [name, value] of Object.entries({ ...GOOD, ...changes })) {
    if (value !== null) headers.push([name, value]);
  }
  return headers;
}

function verify(answer: readonly Header[], protocols = ''): Promise<readonly Header[]> {
  return verifyHandshake(offerHandshake([['sec-websocket-protocol', protocols]], NONCE), answer);
}
