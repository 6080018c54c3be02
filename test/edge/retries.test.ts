/** Which requests are sent again, and which never: docs/retries.md. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readHead } from '../support/message.ts';
import { type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, deadPort, ok, type Script, Upstream } from '../support/upstream.ts';
import type { Wire } from '../support/wire.ts';

let rig: Rig;
let rude: Upstream;
let good: Upstream;
let script: Script = () => {};

beforeAll(async () => {
  rude = await Upstream.start((...args) => script(...args));
  good = await Upstream.start(answering(ok('well')));
  rig = await startRig();
});

afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await rude?.[Symbol.asyncDispose]();
  await good?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  rude.clear();
  good.clear();
});

/** Until both have been dialled: which of them is first is a matter of chance. */
async function askBoth(request: RawRequest): Promise<readonly number[]> {
  await rig.publish(snapshotOf({ 'a.example': { '/': [rude.port, good.port] } }));
  const statuses: number[] = [];
  for (let i = 0; i < 64 && rude.dials === 0; i++) {
    statuses.push((await send(rig.front.port, request)).status);
  }
  expect(rude.dials).toBe(1);
  return statuses;
}

/** What an upstream does once it has read a request's head. */
function afterHead(act: (wire: Wire) => void): Script {
  return async (wire) => {
    await readHead(wire);
    act(wire);
  };
}

const ENDINGS: readonly [string, (wire: Wire) => void][] = [
  ['resets the connection', (wire) => wire.reset()],
  ['closes the connection', (wire) => wire.end()],
];
const WITH_BODY = { headers: ['Content-Length: 2'], body: 'hi' };

describe.each(ENDINGS)('an endpoint that takes a request and %s', (_, act) => {
  beforeEach(() => {
    script = afterHead(act);
  });

  it.each(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])(
    'makes another one get the %s',
    async (method) => {
      expect(new Set(await askBoth({ method }))).toEqual(new Set([200]));
      expect(good.requests.at(-1)).toMatchObject({ method, target: '/' });
    },
  );

  it.each(['POST', 'PATCH', 'PUT', 'DELETE'])(
    'has had the %s with a body, which nobody else gets',
    async (method) => {
      const statuses = await askBoth({ method, ...WITH_BODY });
      expect(statuses.at(-1)).toBe(502);
      expect(good.requests).toHaveLength(statuses.length - 1);
    },
  );

  it.each(['POST', 'PATCH', 'PURGE'])(
    'has had the %s without one, which nobody else gets',
    async (method) => {
      const statuses = await askBoth({ method, headers: ['Content-Length: 0'] });
      expect(statuses.at(-1)).toBe(502);
      expect(good.requests).toHaveLength(statuses.length - 1);
    },
  );

  it('is asked once more when there is no other', async () => {
    await rig.publish(snapshotOf({ 'a.example': { '/': rude.port } }));
    script = async (wire, index) => {
      await readHead(wire);
      if (index === 0) act(wire);
      else wire.end(ok('second'));
    };
    expect(String((await send(rig.front.port)).body)).toBe('second');
  });

  it('twice is 502: a request is sent two times at most', async () => {
    await using second = await Upstream.start(afterHead(act));
    await using third = await Upstream.start(afterHead(act));
    await rig.publish(snapshotOf({ 'a.example': { '/': [rude.port, second.port, third.port] } }));
    expect((await send(rig.front.port)).status).toBe(502);
    expect(rude.dials + second.dials + third.dials).toBe(2);
  });

  it('and leaves nobody else to connect to is 502, and is not asked a third time', async () => {
    const dead = await deadPort();
    await rig.publish(snapshotOf({ 'a.example': { '/': [rude.port, dead] } }));
    expect((await send(rig.front.port)).status).toBe(502);
    expect(rude.dials).toBe(1);
  });
});

it('an answer that has begun is never asked for again', async () => {
  script = afterHead((wire) => wire.end('H'));
  expect((await askBoth({})).at(-1)).toBe(502);
});

it('a POST that finds nobody waits a moment for somebody, and is sent once, whole', async () => {
  const port = await deadPort();
  await rig.publish(snapshotOf({ 'a.example': { '/': port } }));
  const answer = send(rig.front.port, { method: 'POST', ...WITH_BODY });
  await using late = await Upstream.start(answering(ok('late')), '127.0.0.1', port);
  expect((await answer).status).toBe(200);
  expect(late.requests.map(({ method, body }) => `${method} ${body}`)).toEqual(['POST hi']);
});
