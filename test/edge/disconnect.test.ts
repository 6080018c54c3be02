import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readHead } from '../support/message.ts';
import { headText, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

/**
 * An upstream that leaves `/hang` without an answer and `/stream` in the middle of one, and tells
 * when its connection has ended.
 */
function startSlow(): Promise<Upstream> {
  return Upstream.start(async (wire, _, upstream) => {
    const head = await readHead(wire);
    if (head.startLine.includes('/plain')) wire.end(ok('slow'));
    if (head.startLine.includes('/stream'))
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
    upstream.note(head);
  });
}

describe('a client that goes', () => {
  let rig: Rig;
  let slow: Upstream;
  let fast: Upstream;

  beforeAll(async () => {
    [slow, fast] = await Promise.all([startSlow(), Upstream.start(answering(ok('fast')))]);
    rig = await startRig();
    await rig.publish(
      snapshotOf({
        'slow.example': { '/': slow.port },
        'both.example': { '/': [slow.port, fast.port] },
      }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await slow?.[Symbol.asyncDispose]();
    await fast?.[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    slow.clear();
    fast.clear();
  });

  /** A request to the slow upstream that has arrived there, and its connection. */
  async function begin(target: string, request: Parameters<typeof headText>[0] = {}) {
    const client = await Wire.dial(rig.front.port);
    client.write(headText({ host: 'slow.example', target, ...request }));
    await slow.received(0);
    return { client, upstream: await slow.wire(0) };
  }

  const leavings: readonly (readonly [string, (client: Wire) => void])[] = [
    ['closes', (client) => client.destroy()],
    ['resets', (client) => client.reset()],
  ];

  describe.each(leavings)('and %s its connection', (_, leave) => {
    it('before the answer ends the request at the upstream', async () => {
      const { client, upstream } = await begin('/hang');
      leave(client);
      expect(await upstream.ended()).toBe(true);
    });

    it('within the answer ends it too', async () => {
      const { client, upstream } = await begin('/stream');
      await readHead(client);
      expect(String(await client.bytes(3))).toBe('abc');
      leave(client);
      expect(await upstream.ended()).toBe(true);
    });

    it('within its own body lets the upstream see a request that breaks off', async () => {
      const length = { method: 'POST', headers: ['Content-Length: 100'] };
      const { client, upstream } = await begin('/hang', length);
      client.write('begun');
      expect(String(await upstream.bytes(5))).toBe('begun');
      leave(client);
      expect(String(await upstream.rest())).toBe('');
    });

    it('within a chunked body never sends the last chunk', async () => {
      const chunked = { method: 'POST', headers: ['Transfer-Encoding: chunked'] };
      const { client, upstream } = await begin('/hang', chunked);
      client.write('5\r\nbegun\r\n');
      expect(String(await upstream.bytes(10))).toBe('5\r\nbegun\r\n');
      leave(client);
      expect(String(await upstream.rest())).toBe('');
    });
  });

  it.each(['/hang', '/stream'])('from %s no longer counts as in flight', async (target) => {
    // Until one of them reaches the slow one: the other endpoint answers.
    while (slow.dials === 0) {
      const client = await Wire.dial(rig.front.port);
      client.write(headText({ host: 'both.example', target }));
      await Promise.race([readHead(client), slow.received(0)]);
      client.destroy();
    }
    expect(await (await slow.wire(0)).ended()).toBe(true);
    slow.clear();
    // Were it still counted, the other would look less busy for ever.
    for (let i = 0; i < 100 && slow.dials === 0; i++) {
      await send(rig.front.port, { host: 'both.example', target: '/plain' });
    }
    expect(slow.dials).toBe(1);
  });

  it('is no loss to others', async () => {
    const { client, upstream } = await begin('/hang');
    const others = Array.from({ length: 10 }, () =>
      send(rig.front.port, { host: 'slow.example', target: '/plain' }),
    );
    client.reset();
    for (const response of await Promise.all(others)) expect(response.status).toBe(200);
    expect(await upstream.ended()).toBe(true);
  });
});
