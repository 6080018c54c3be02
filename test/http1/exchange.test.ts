import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { UnansweredError, UpstreamError } from '../../worker/dial/upstream-error.ts';
import { exchange } from '../../worker/http1/exchange.ts';
import { LIMITS } from '../../worker/http1/limits.ts';
import type { UpstreamRequest, UpstreamResponse } from '../../worker/http1/message.ts';
import { InvalidRequestError } from '../../worker/http1/request-error.ts';
import { latin1, textOf } from './support/bytes.ts';
import { type Ending, MemoryConnection } from './support/memory-connection.ts';

const GET: UpstreamRequest = {
  method: 'GET',
  target: '/',
  host: 'a',
  headers: [],
  body: null,
  contentLength: null,
  upgrade: null,
};

function says(text: string, ending: Ending = 'end'): MemoryConnection {
  return new MemoryConnection([latin1(text)], ending);
}

interface Outcome {
  readonly response: UpstreamResponse;
  readonly failures: UpstreamError[];
}

async function send(
  connection: MemoryConnection,
  request: Partial<UpstreamRequest> = {},
): Promise<Outcome> {
  const failures: UpstreamError[] = [];
  const response = await exchange(
    connection,
    { ...GET, ...request },
    { responseTimeoutMs: 10_000, onBodyFailure: (error) => failures.push(error) },
  );
  return { response, failures };
}

async function bodyOf({ body }: UpstreamResponse): Promise<string | null> {
  return body && textOf(await new Response(body).bytes());
}

describe('an answer', () => {
  test.each<[string, string, string | null, number | null]>([
    ['of a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello', 5],
    ['with more behind it', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!!', 'hello', 5],
    ['of length 0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', null, 0],
    [
      'in chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n',
      'hello',
      null,
    ],
    ['in no chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', null, null],
    ['up to the end', 'HTTP/1.1 200 OK\r\n\r\nhello', 'hello', null],
    ['of HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nhello', 'hello', null],
    ['of no content', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', null, 5],
    ['of nothing new', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', null, 5],
    [
      'after 1xx',
      'HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
      'hello',
      5,
    ],
  ])('%s', async (_, text, body, contentLength) => {
    const connection = says(text);
    const { response, failures } = await send(connection);
    expect(response.contentLength).toBe(contentLength);
    expect(await bodyOf(response)).toBe(body);
    await setImmediate();
    expect(connection.isClosed).toBe(true);
    expect(failures).toEqual([]);
  });

  test('to HEAD has the length that GET would have, and no body', async () => {
    const connection = says('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'open');
    const { response } = await send(connection, { method: 'HEAD' });
    expect(response).toMatchObject({ status: 200, body: null, contentLength: 5 });
    expect(connection.isClosed).toBe(true);
  });

  test('that is known to be whole closes the connection before anyone reads it', async () => {
    const connection = says('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'open');
    const { response } = await send(connection);
    expect(connection.isClosed).toBe(true);
    expect(await bodyOf(response)).toBe('hello');
  });

  test('whose end has come closes the connection, however slow its reader', async () => {
    const connection = says('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'open');
    const { response } = await send(connection);
    expect(connection.isClosed).toBe(false);
    connection.say('hello');
    await setImmediate();
    expect(connection.isClosed).toBe(true);
    expect(await bodyOf(response)).toBe('hello');
  });

  test('that is not wanted any more closes the connection, however silent the upstream', async () => {
    const connection = says('HTTP/1.1 200 OK\r\n\r\nhello', 'open');
    const { response, failures } = await send(connection);
    const reader = response.body?.getReader();
    await reader?.read();
    await setImmediate();
    expect(connection.isClosed).toBe(false);
    await reader?.cancel();
    await setImmediate();
    expect(connection.isClosed).toBe(true);
    expect(failures).toEqual([]);
  });

  test('keeps its headers in order, copies and all', async () => {
    const { response } = await send(
      says('HTTP/1.1 200 OK\r\nB: 1\r\na: \xe4\r\nB: 2\r\nContent-Length: 0\r\n\r\n'),
    );
    expect(response.headers).toEqual([
      ['B', '1'],
      ['a', '\xe4'],
      ['B', '2'],
      ['Content-Length', '0'],
    ]);
  });

  test('that nobody reads is not read ahead', async () => {
    const pieces = Array.from({ length: 100 }, () => latin1('x'.repeat(1000)));
    let taken = 0;
    const connection = says('', 'open');
    const readable = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          taken += 1;
          controller.enqueue(
            taken === 1 ? latin1('HTTP/1.1 200 OK\r\n\r\n') : (pieces[taken - 2] ?? latin1('x')),
          );
        },
      },
      { highWaterMark: 0 },
    );
    const { close, writable } = connection;
    const response = await exchange(
      { readable, writable, close: () => close.call(connection) },
      GET,
      { responseTimeoutMs: 10_000 },
    );
    for (let i = 0; i < 20; i++) await setImmediate();
    expect(taken).toBeLessThan(4);
    await response.body?.cancel();
    await setImmediate();
    expect(connection.isClosed).toBe(true);
  });
});

describe('an answer that breaks off', () => {
  test.each<[string, string, Ending, UpstreamError['kind']]>([
    ['before its length', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello', 'end', 'reset'],
    [
      'within a chunk',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello',
      'end',
      'reset',
    ],
    [
      'between chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
      'end',
      'reset',
    ],
    [
      'before the end of the trailers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n',
      'end',
      'reset',
    ],
    ['by a reset', 'HTTP/1.1 200 OK\r\n\r\nhello', 'reset', 'reset'],
  ])('%s is an error of the body', async (_, text, ending, kind) => {
    const connection = says(text, ending);
    const { response, failures } = await send(connection);
    await expect(bodyOf(response)).rejects.toThrow(UpstreamError);
    await setImmediate();
    expect(connection.isClosed).toBe(true);
    expect(failures).toMatchObject([{ kind, requestSent: true }]);
  });

  test('by a broken chunk that comes later is an error of the body', async () => {
    const connection = says('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'open');
    const { response, failures } = await send(connection);
    connection.say('5\r\nhelloX');
    await expect(bodyOf(response)).rejects.toThrow(UpstreamError);
    await setImmediate();
    expect(failures).toMatchObject([{ kind: 'protocol' }]);
  });
});

describe('no answer', () => {
  test.each<[string, string, Ending, UpstreamError['kind']]>([
    ['an end at once', '', 'end', 'reset'],
    ['a reset at once', '', 'reset', 'reset'],
    ['an end within the head', 'HTTP/1.1 200 OK\r\nA: b\r\n', 'end', 'reset'],
    ['an end after a 1xx', 'HTTP/1.1 100 Continue\r\n\r\n', 'end', 'reset'],
    ['another protocol', 'SSH-2.0-OpenSSH\r\n', 'open', 'protocol'],
    [
      'a broken chunk in the first bytes',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nX\r\n',
      'open',
      'protocol',
    ],
    [
      'a switch that nobody asked for',
      'HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n',
      'open',
      'protocol',
    ],
    [
      '1xx without end',
      'HTTP/1.1 100 C\r\n\r\n'.repeat(LIMITS.INTERIM_RESPONSE_COUNT_MAX + 1),
      'open',
      'protocol',
    ],
  ])('but %s', async (_, text, ending, kind) => {
    const connection = says(text, ending);
    const error = await send(connection).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UpstreamError);
    expect(error).toMatchObject({ kind, requestSent: true });
    // Only where there was not a byte may a request be sent again.
    expect(error instanceof UnansweredError).toBe(text === '');
    expect(connection.isClosed).toBe(true);
  });

  test('to a request that cannot be written', async () => {
    const connection = says('', 'open');
    await expect(send(connection, { target: 'x' })).rejects.toThrow(InvalidRequestError);
    expect(connection.sent).toEqual([]);
    expect(connection.isClosed).toBe(true);
  });
});

describe('an upgrade', () => {
  const SWITCH =
    'HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n';

  test('hands the connection over, with what was read of it', async () => {
    const connection = says(`${SWITCH}first`, 'open');
    const { response } = await send(connection, { upgrade: 'websocket' });
    expect(response).toMatchObject({ status: 101, body: null });
    const { upgraded } = response;
    if (!upgraded) return expect.unreachable();
    expect(textOf(upgraded.leftover)).toBe('first');
    expect(connection.isClosed).toBe(false);
    const reader = upgraded.readable.getReader();
    connection.say('second');
    expect(textOf((await reader.read()).value ?? latin1(''))).toBe('second');
    await upgraded.writable.getWriter().write(latin1('third'));
    expect(connection.sentText.endsWith('\r\n\r\nthird')).toBe(true);
    await upgraded.close();
    expect(connection.isClosed).toBe(true);
  });

  test('may be answered like any request', async () => {
    const connection = says('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno', 'open');
    const { response } = await send(connection, { upgrade: 'websocket' });
    expect(response).toMatchObject({ status: 403, upgraded: null });
    expect(await bodyOf(response)).toBe('no');
    expect(connection.isClosed).toBe(true);
  });

  test.each([
    ['to something else', SWITCH.replace('WebSocket', 'h2c')],
    ['without saying so', 'HTTP/1.1 101 Switching\r\n\r\n'],
    ['for this hop only by half', SWITCH.replace('keep-alive, Upgrade', 'keep-alive')],
  ])('is refused %s', async (_, text) => {
    const sent = send(says(text, 'open'), { upgrade: 'websocket' });
    await expect(sent).rejects.toMatchObject({ kind: 'protocol' });
  });
});
