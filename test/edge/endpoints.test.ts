import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EJECTION_MS_BASE } from '../../worker/balance.ts';
import { readHead, valueIn } from '../support/message.ts';
import { headText, type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, deadPort, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

describe('several endpoints', () => {
  let rig: Rig;
  let one: Upstream;
  let two: Upstream;

  beforeAll(async () => {
    [one, two] = (await Promise.all(
      ['one', 'two'].map((name) => Upstream.start(answering(ok(name)))),
    )) as [Upstream, Upstream];
    rig = await startRig();
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await one?.[Symbol.asyncDispose]();
    await two?.[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    one.clear();
    two.clear();
  });

  async function answers(count: number, request: RawRequest = {}): Promise<readonly string[]> {
    const found: string[] = [];
    for (let i = 0; i < count; i++) {
      const { status, body } = await send(rig.front.port, request);
      found.push(status === 200 ? String(body) : String(status));
    }
    return found;
  }

  it('all get requests', async () => {
    await rig.publish(snapshotOf({ 'a.example': { '/': [one.port, two.port] } }));
    // 2 in 2^64 that only one of them is drawn.
    expect([...new Set(await answers(64))].sort()).toEqual(['one', 'two']);
  });

  it.each(['GET', 'POST', 'PATCH'])(
    'of which some are dead serve each %s, once',
    async (method) => {
      const dead = [await deadPort(), await deadPort(), await deadPort()];
      await rig.publish(snapshotOf({ 'a.example': { '/': [...dead, one.port] } }));
      const body = { headers: ['Content-Length: 7'], body: 'payload' };
      const request = { method, ...(method === 'GET' ? {} : body) };
      expect(new Set(await answers(10, request))).toEqual(new Set(['one']));
      expect(one.requests).toHaveLength(10);
      for (const seen of one.requests) {
        expect([seen.method, String(seen.body)]).toEqual([
          method,
          method === 'GET' ? '' : 'payload',
        ]);
      }
    },
  );

  it('that are all dead are 502 for the client and named in the log', async () => {
    const dead = await deadPort();
    await rig.publish(snapshotOf({ 'a.example': { '/': [dead] } }));
    const response = await send(rig.front.port);
    expect(response.status).toBe(502);
    expect(`${JSON.stringify(response.headers)}${response.body}`).not.toContain(String(dead));
    const line = await rig.log.line(valueIn(response, 'x-request-id') ?? 'no id');
    expect(JSON.parse(line).cause).toContain(`127.0.0.1:${dead}`);
  });

  it('that come back are used again at once, when no other is left', async () => {
    const port = await deadPort();
    await rig.publish(snapshotOf({ 'a.example': { '/': port } }));
    expect(await answers(3)).toEqual(['502', '502', '502']);
    await using _back = await Upstream.start(answering(ok('back')), '127.0.0.1', port);
    expect(await answers(1)).toEqual(['back']);
  });

  it('of which one was dead are spared it for a while, and given it back then', async () => {
    let isSpared = false;
    while (!isSpared) {
      const port = await deadPort();
      await rig.publish(snapshotOf({ 'a.example': { '/': [port, one.port] } }));
      await answers(32);
      const sinceMs = performance.now();
      await using back = await Upstream.start(answering(ok('back')), '127.0.0.1', port);
      const spared = await answers(16);
      // A round that took longer than it rests says nothing.
      if (performance.now() - sinceMs > EJECTION_MS_BASE / 2) continue;
      expect(new Set(spared)).toEqual(new Set(['one']));
      expect(back.dials).toBe(0);
      isSpared = true;
      while ((await answers(1))[0] !== 'back');
    }
  });

  it('that hang up on whoever connects are 502', async () => {
    // Whether it has accepted before or after we hear of the end is its secret.
    await using rude = await Upstream.start((wire) => wire.reset());
    await rig.publish(snapshotOf({ 'a.example': { '/': rude.port } }));
    expect(await answers(1)).toEqual(['502']);
  });

  it('get fewer requests while they have more in flight', async () => {
    await using busy = await Upstream.start(async (wire, _, upstream) => {
      upstream.note(await readHead(wire));
    });
    await rig.publish(snapshotOf({ 'a.example': { '/': [busy.port, one.port] } }));
    const held = await hold(busy);
    const before = busy.dials;
    expect(new Set(await answers(20))).toEqual(new Set(['one']));
    expect(busy.dials).toBe(before);
    held.destroy();
  });

  it.each([
    ['one read', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n', 2],
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n', 100_000],
    [
      'a length and the end',
      'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n',
      1_000_000,
    ],
    ['the end', 'HTTP/1.1 200 OK\r\n\r\n', 1_000_000],
    ['nothing, as a 205', 'HTTP/1.1 205 Reset Content\r\nContent-Length: 1000000\r\n\r\n', 500_000],
    ['nothing, as a 204', 'HTTP/1.1 204 No Content\r\n\r\n', 0],
    ['a break', 'HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n', 100_000],
    ['a wrong head', 'HTTP/1.1 OK\r\n\r\n', 0],
  ])('that have answered, delimited by %s, are no longer busy', async (_, head, length) => {
    await using slow = await Upstream.start(async (wire) => {
      await readHead(wire);
      wire.end(head + 'x'.repeat(length));
    });
    await rig.publish(snapshotOf({ 'a.example': { '/': [slow.port, one.port] } }));
    // Were it still busy after the first request, the other would get all that follow.
    for (let round = 0; round < 3; round++) {
      slow.clear();
      for (let i = 0; i < 100 && slow.dials === 0; i++) {
        await send(rig.front.port).catch(() => {});
      }
      expect(slow.dials).toBe(1);
    }
  });

  it.each([
    ['IPv6', '::1'],
    ['a name', 'localhost'],
  ])('may be %s', async (_, host) => {
    await using six = await Upstream.start(answering(ok('six')), host);
    await rig.publish(snapshotOf({ 'a.example': { '/': [{ host, port: six.port }] } }));
    expect(await answers(1)).toEqual(['six']);
  });

  it.each([
    '169.254.169.254',
    '0.0.0.0',
    '224.0.0.1',
    '::ffff:169.254.169.254',
    'metadata.google.internal',
  ])('at %s are never dialled', async (host) => {
    const endpoint = { host, port: one.port };
    await rig.publish(snapshotOf({ 'a.example': { '/': [endpoint] } }));
    const response = await send(rig.front.port);
    expect(response.status).toBe(502);
    const line = await rig.log.line(valueIn(response, 'x-request-id') ?? 'no id');
    expect(JSON.parse(line).cause).toMatch(/the address is/);
    expect(one.dials).toBe(0);
  });

  /** A request that the upstream has and does not answer. */
  async function hold(upstream: Upstream): Promise<Wire> {
    for (;;) {
      const client = await Wire.dial(rig.front.port);
      client.write(headText({}));
      const answered = readHead(client).then(
        () => true,
        () => true,
      );
      const isHeld = await Promise.race([
        answered.then(() => false),
        upstream.received(0).then(() => true),
      ]);
      if (isHeld) return client;
      client.destroy();
    }
  }
});
