import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readHead } from '../support/message.ts';
import { type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

const RUNS = 150;

const REQUESTS = [
  'GET /a/../b?c HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nX-A: 1\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello',
  'PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
];

const ANSWERS = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=1\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nhello',
  'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
];

/** What somebody does to a message: replaces a part of it by what makes parsers stumble. */
const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  removed: fc.integer({ min: 0, max: 8 }),
  inserted: fc.oneof(
    fc.constantFrom('\r\n', '\n', '\r', '\0', ' ', '\t', ':', ';', ',', '\x80', '\xff', '%', '..'),
    fc.constantFrom(
      'Content-Length: 3\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Host: b\r\n',
      'Expect: 100-continue\r\n',
      'Trailer: x\r\n',
      'Connection: x\r\n',
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 12 }),
  ),
});

type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

function mutated(text: string, mutations: readonly Mutation[]): string {
  return mutations.reduce((before, { at, removed, inserted }) => {
    const from = Math.floor(at * before.length);
    return before.slice(0, from) + inserted + before.slice(from + removed);
  }, text);
}

describe('mutations of messages', () => {
  let rig: Rig;
  let good: Upstream;
  let bad: Upstream;
  let answer = '';

  beforeAll(async () => {
    good = await Upstream.start(answering(ok('good')));
    bad = await Upstream.start(async (wire) => {
      await readHead(wire);
      wire.end(answer);
    });
    rig = await startRig({ responseTimeoutMs: 5_000 });
    await rig.publish(
      snapshotOf({ 'a.example': { '/': good.port }, 'bad.example': { '/': bad.port } }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await good?.[Symbol.asyncDispose]();
    await bad?.[Symbol.asyncDispose]();
  });

  async function expectAlive(): Promise<void> {
    expect(String((await send(rig.front.port)).body)).toBe('good');
  }

  it('of requests never harm the next one', async () => {
    const request = fc.tuple(fc.constantFrom(...REQUESTS), fc.array(mutation, { maxLength: 3 }));
    await fc.assert(
      fc.asyncProperty(request, async ([text, mutations]) => {
        for (const port of [rig.front.port, rig.edge.worker.port]) {
          const wire = await Wire.dial(port);
          wire.end(mutated(text, mutations));
          // Whatever is answered: the connection ends, since the client's side of it has.
          await wire.rest();
          wire.destroy();
        }
        await expectAlive();
      }),
      { numRuns: RUNS },
    );
  });

  it('of answers end in an answer, a 502 or a break', async () => {
    const text = fc.tuple(fc.constantFrom(...ANSWERS), fc.array(mutation, { maxLength: 3 }));
    await fc.assert(
      fc.asyncProperty(text, async ([bytes, mutations]) => {
        answer = mutated(bytes, mutations);
        const response = await send(rig.front.port, { host: 'bad.example' }).catch(() => null);
        if (response) expect(response.status).toBeGreaterThanOrEqual(200);
        await expectAlive();
      }),
      { numRuns: RUNS },
    );
  });
});
