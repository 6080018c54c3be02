import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readResponse, valuesOf } from '../support/message.ts';
import { type Rig, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

const HOST = 'Host: a.example\r\n';
const HIDDEN = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n`;
const CHUNKED_HIDDEN = `0\r\n\r\n${HIDDEN}`;

/** Requests that two readers could understand differently, each with another one hidden in it. */
const AMBIGUOUS: readonly (readonly [string, string])[] = [
  [
    'a length and chunks',
    `Content-Length: ${CHUNKED_HIDDEN.length}\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_HIDDEN}`,
  ],
  [
    'chunks and a length',
    `Transfer-Encoding: chunked\r\nContent-Length: ${CHUNKED_HIDDEN.length}\r\n\r\n${CHUNKED_HIDDEN}`,
  ],
  ['two lengths', `Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a list of lengths', `Content-Length: 0, ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a signed length', `Content-Length: +${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a length with a blank in it', `Content-Length: 0 ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a length before a blank and a colon', `Content-Length : ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['chunks before a blank and a colon', `Transfer-Encoding : chunked\r\n\r\n${CHUNKED_HIDDEN}`],
  ['an obscured coding', `Transfer-Encoding: xchunked\r\n\r\n${CHUNKED_HIDDEN}`],
  ['a coding that is not last', `Transfer-Encoding: chunked, identity\r\n\r\n${CHUNKED_HIDDEN}`],
  ['a folded coding', `Transfer-Encoding:\r\n chunked\r\n\r\n${CHUNKED_HIDDEN}`],
  ['a coding behind a vertical tab', `Transfer-Encoding: \x0bchunked\r\n\r\n${CHUNKED_HIDDEN}`],
  ['a header ended by a bare LF', `X-A: 1\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_HIDDEN}`],
  ['a header ended by a bare CR', `X-A: 1\rTransfer-Encoding: chunked\r\n\r\n${CHUNKED_HIDDEN}`],
  ['a head ended by bare LFs', `Content-Length: 0\n\n${HIDDEN}`],
  ['a chunk size with a sign', `Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n${HIDDEN}`],
  ['a chunk size with 0x', `Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n${HIDDEN}`],
  [
    'a chunk size that overflows',
    `Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n${HIDDEN}`,
  ],
  [
    'a chunk that is longer than its size',
    `Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n${HIDDEN}`,
  ],
  ['a chunk ended by a bare LF', `Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n${HIDDEN}`],
];

describe('a request that can be read in two ways', () => {
  let rig: Rig;
  let upstream: Upstream;

  beforeAll(async () => {
    upstream = await Upstream.start(answering(ok('ok')));
    rig = await startRig();
    await rig.publish(snapshotOf({ 'a.example': { '/': upstream.port } }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  /** Sends this and expects a 400 and the end, with nothing of it for the upstream. */
  async function expectRefused(bytes: string): Promise<void> {
    const wire = await Wire.dial(rig.front.port);
    wire.write(bytes);
    expect((await readResponse(wire)).status).toBe(400);
    expect(await wire.ended()).toBe(true);
    wire.destroy();
    expect(upstream.dials).toBe(0);
  }

  it.each(AMBIGUOUS)('by %s is refused', async (_, rest) => {
    await expectRefused(`POST /seen HTTP/1.1\r\n${HOST}${rest}`);
  });

  it.each([
    ['a blank in the target', 'GET /a b HTTP/1.1\r\n'],
    ['an unknown version', 'GET / HTTP/9.9\r\n'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n'],
    ['a target that is no path', 'GET a HTTP/1.1\r\n'],
    ['a target with another scheme', 'GET ftp://a.example/ HTTP/1.1\r\n'],
    ['a method in small letters', 'get / HTTP/1.1\r\n'],
  ])('by its request line, with %s, is refused', async (_, line) => {
    await expectRefused(`${line}${HOST}\r\n`);
  });

  it('by codings that Node bears reaches the upstream in one way', async () => {
    const codings = 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n';
    const wire = await Wire.dial(rig.front.port);
    wire.write(`POST / HTTP/1.1\r\n${HOST}${codings}Connection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n`);
    expect((await readResponse(wire)).status).toBe(200);
    expect(valuesOf(upstream.request, 'transfer-encoding')).toEqual(['chunked']);
    expect(String(upstream.request.body)).toBe('hi');
    wire.destroy();
  });

  it('is told from two that are pipelined', async () => {
    const one = `POST /one HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`;
    const two = `GET /two HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    const wire = await Wire.dial(rig.front.port);
    wire.write(one + two);
    expect(String(await wire.rest()).match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    // Each is on a connection of its own from here on.
    const targets = upstream.requests.map(({ target }) => target).sort();
    expect(targets).toEqual(['/one', '/two']);
    wire.destroy();
  });
});
