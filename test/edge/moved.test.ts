import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, deadPort, ok, Upstream } from '../support/upstream.ts';

let rig: Rig;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await Upstream.start(answering(ok('here')));
  rig = await startRig();
});

afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await upstream?.[Symbol.asyncDispose]();
});

it('a request that finds nobody goes where a newer version says', async () => {
  await rig.publish(snapshotOf({ 'moved.example': { '/': await deadPort() } }));
  expect((await send(rig.front.port, { host: 'moved.example' })).status).toBe(502);
  // REFRESH_SECONDS: the next request looks for a newer version, though it does not wait for it.
  await delay(1_100);
  await rig.publisher.publish(snapshotOf({ 'moved.example': { '/': upstream.port } }), []);
  const request = {
    host: 'moved.example',
    method: 'POST',
    headers: ['Content-Length: 9'],
    body: 'all of it',
  };
  const response = await send(rig.front.port, request);
  expect(response.status).toBe(200);
  expect((await upstream.received(0)).body.toString()).toBe('all of it');
});
