import { describe, expect, test } from 'vitest';
import { RequestBodyError } from '../../worker/http1/request-error.ts';
import { latin1 } from './support/bytes.ts';
import { ClientBody, post, settle, silent, textOfBody } from './support/client-body.ts';
import { readRequest } from './support/llhttp.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('a body', () => {
  test.each([
    ['of known length', 10],
    ['of unknown length', null],
  ])('%s arrives as it was sent', async (_, contentLength) => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, contentLength);
    for (const text of ['01', '', '2345', '6789']) {
      body.send(text);
      await settle();
    }
    body.end();
    await settle();
    connection.say(OK);
    expect(await textOfBody(await answer)).toBe('ok');
    expect(readRequest(Buffer.concat(connection.sent))).toMatchObject([
      { method: 'POST', body: '0123456789', isComplete: true },
    ]);
  });

  test('is taken from the client no faster than the upstream takes it', async () => {
    const connection = silent();
    connection.blocked = new Promise(() => {});
    let takenCount = 0;
    const body = new ClientBody();
    const stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => controller.enqueue(latin1(`${takenCount++}`)) },
      { highWaterMark: 0 },
    );
    const answer = post(connection, Object.assign(body, { stream }), null);
    await settle();
    expect(takenCount).toBeLessThanOrEqual(1);
    connection.say(OK);
    await answer;
  });

  test.each([
    ['fails', 10, (body: ClientBody) => body.fail()],
    ['is shorter than declared', 10, (body: ClientBody) => body.end()],
    ['is longer than declared', 6, (body: ClientBody) => body.send('678')],
  ])('that %s leaves the upstream with half a request', async (_, contentLength, act) => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, contentLength);
    body.send('01234');
    await settle();
    act(body);
    await expect(answer).rejects.toThrow(RequestBodyError);
    expect(connection.isClosed).toBe(true);
    expect(readRequest(Buffer.concat(connection.sent))).toMatchObject([
      { body: '01234', isComplete: false },
    ]);
  });

  test('that fails after the answer has begun breaks off the answer', async () => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, null);
    connection.say('HTTP/1.1 200 OK\r\n\r\nbegun');
    const response = await answer;
    const text = textOfBody(response);
    body.fail();
    await expect(text).rejects.toThrow();
    expect(connection.isClosed).toBe(true);
    expect(connection.sentText).not.toContain('0\r\n\r\n');
  });

  test('that fails is no proper end of the answer, even if closing the connection looks like one', async () => {
    const connection = silent();
    connection.close = async () => connection.end();
    const body = new ClientBody();
    const answer = post(connection, body, null);
    connection.say('HTTP/1.1 200 OK\r\n\r\nbegun');
    const text = textOfBody(await answer);
    body.fail();
    await expect(text).rejects.toThrow();
  });
});

describe('an early answer', () => {
  test('is delivered, and the rest of the body is left', async () => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, 1_000_000);
    body.send('begun');
    await settle();
    connection.say('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
    const response = await answer;
    expect(response.status).toBe(413);
    expect(await textOfBody(response)).toBe('no');
    expect(body.isCancelled).toBe(true);
    expect(connection.isClosed).toBe(true);
  });

  test('leaves half a request, even if closing the connection takes time', async () => {
    const connection = silent();
    connection.close = () => new Promise(() => {});
    const body = new ClientBody();
    const answer = post(connection, body, null);
    body.send('begun');
    await settle();
    connection.say('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
    await answer;
    await settle();
    expect(readRequest(Buffer.concat(connection.sent))).toMatchObject([
      { body: 'begun', isComplete: false },
    ]);
  });

  test('that goes on lets the body go on', async () => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, null);
    connection.say('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    const text = textOfBody(await answer);
    body.send('question');
    await settle();
    expect(connection.sentText).toContain('8\r\nquestion\r\n');
    connection.say('6\r\nanswer\r\n');
    body.end();
    await settle();
    expect(connection.sentText).toContain('0\r\n\r\n');
    connection.say('0\r\n\r\n');
    expect(await text).toBe('answer');
    expect(body.isCancelled).toBe(false);
  });

  test('is not lost when the upstream then takes no more', async () => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, 1_000_000);
    await settle();
    connection.isBroken = true;
    body.send('too late');
    await settle();
    expect(body.isCancelled).toBe(true);
    connection.say('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
    connection.end();
    expect(await textOfBody(await answer)).toBe('no');
  });

  test('that never comes from an upstream that takes no more is a reset', async () => {
    const connection = silent();
    connection.isBroken = true;
    const body = new ClientBody();
    const answer = post(connection, body, 5);
    await settle();
    expect(body.isCancelled).toBe(true);
    connection.reset();
    await expect(answer).rejects.toMatchObject({ kind: 'reset', requestSent: true });
  });

  test('whose reader goes ends both directions', async () => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, null);
    connection.say('HTTP/1.1 200 OK\r\n\r\nbegun');
    const response = await answer;
    await response.body?.cancel();
    await settle();
    expect(body.isCancelled).toBe(true);
    expect(connection.isClosed).toBe(true);
  });
});
