import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { exchange } from '../../worker/http1/exchange.ts';
import { ClientBody, post, settle, silent, TIMEOUT_MS, textOfBody } from './support/client-body.ts';
import type { MemoryConnection } from './support/memory-connection.ts';

describe('the time to answer', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  async function pass(ms: number): Promise<void> {
    await settle();
    await vi.advanceTimersByTimeAsync(ms);
    await settle();
  }

  async function isPending(promise: Promise<unknown>): Promise<boolean> {
    return (
      (await Promise.race([promise.catch(() => {}), settle().then(() => 'pending')])) === 'pending'
    );
  }

  const noBody = (connection: MemoryConnection) =>
    exchange(
      connection,
      {
        method: 'GET',
        target: '/',
        host: 'a',
        headers: [],
        body: null,
        contentLength: null,
        upgrade: null,
      },
      { responseTimeoutMs: TIMEOUT_MS },
    );

  test('runs out', async () => {
    const connection = silent();
    const answer = noBody(connection);
    await pass(TIMEOUT_MS - 1);
    expect(await isPending(answer)).toBe(true);
    await pass(1);
    await expect(answer).rejects.toMatchObject({ kind: 'timeout', requestSent: true });
    expect(connection.isClosed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('ends with the head, and leaves no timer', async () => {
    const connection = silent();
    const answer = noBody(connection);
    await pass(TIMEOUT_MS - 1);
    connection.say('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
    const response = await answer;
    expect(vi.getTimerCount()).toBe(0);
    await pass(10 * TIMEOUT_MS);
    connection.say('ok');
    expect(await textOfBody(response)).toBe('ok');
  });

  test.each([
    ['of known length', 5],
    ['of unknown length', null],
  ])(
    'does not run while the client is slow with a body %s, but from its end',
    async (_, length) => {
      const connection = silent();
      const body = new ClientBody();
      const answer = post(connection, body, length);
      for (let piece = 0; piece < 5; piece++) {
        await pass(10 * TIMEOUT_MS);
        body.send('x');
      }
      expect(await isPending(answer)).toBe(true);
      body.end();
      await pass(TIMEOUT_MS - 1);
      expect(await isPending(answer)).toBe(true);
      await pass(1);
      await expect(answer).rejects.toMatchObject({ kind: 'timeout' });
    },
  );

  test('runs while the upstream takes nothing', async () => {
    const connection = silent();
    const body = new ClientBody();
    const answer = post(connection, body, null);
    await settle();
    connection.blocked = new Promise(() => {});
    body.send('x');
    const failed = expect(answer).rejects.toMatchObject({ kind: 'timeout' });
    await pass(TIMEOUT_MS);
    await failed;
    expect(body.isCancelled).toBe(true);
  });

  test('runs when the upstream has hung up for writing only', async () => {
    const connection = silent();
    connection.isBroken = true;
    const answer = post(connection, new ClientBody(), 5);
    const failed = expect(answer).rejects.toMatchObject({ kind: 'timeout' });
    await pass(TIMEOUT_MS);
    await failed;
  });
});
