import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Follower } from '../../syncer/followers.ts';
import { ApiClient } from '../../syncer/kubernetes/api-client.ts';
import { type StatusOutcome, statusFollower } from '../../syncer/status-writer.ts';
import { endlessTerm } from '../../syncer/term.ts';
import { FakeClock, LogLines } from '../kubernetes/harness.ts';
import { type RawObject, ScriptedApiServer } from '../kubernetes/scripted-api-server.ts';
import {
  compiled,
  EDGE,
  ingress,
  MANAGER,
  PUBLISHING,
  served,
  service,
  VERSION_1,
} from './situation.ts';

let server: ScriptedApiServer;
let client: ApiClient;
let log: LogLines;
let outcomes: StatusOutcome[];
let follow: Follower;

beforeEach(async () => {
  server = await ScriptedApiServer.start();
  server.discovers({ 'networking.k8s.io/v1': ['ingresses'] });
  client = new ApiClient(server.kubeConfig);
  log = new LogLines();
  outcomes = [];
  follow = statusFollower({
    client,
    log,
    clock: new FakeClock(),
    random: () => 0,
    onOutcome: (outcome) => outcomes.push(outcome),
  });
});

afterEach(async () => {
  client.close();
  await server.close();
});

const see = (...objects: RawObject[]) =>
  follow(served(compiled([...objects, service()], PUBLISHING)));

test('an Ingress gets the address of the edge, guarded by the version that was seen', async () => {
  const done = see(ingress());
  const patch = await server.next('patch', 'ingresses');
  expect(patch.path).toBe('/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web/status');
  expect(patch.query.get('fieldManager')).toBe(MANAGER);
  expect(await patch.body).toEqual({
    metadata: { resourceVersion: '7', uid: 'uid-of-web' },
    status: { loadBalancer: { ingress: [{ hostname: EDGE }] } },
  });
  patch.json(200, ingress({ shows: [EDGE] }));
  await done;
  expect(outcomes).toEqual(['set']);
});

test('is asked nothing when all is as it should be', async () => {
  await see(ingress({ shows: [EDGE] }), ingress({ name: 'b', className: 'nginx' }));
  expect(server.calls).toEqual([]);
});

test('what we wrote is taken away when the Ingress is not ours any more', async () => {
  const done = see(ingress({ className: 'nginx', shows: [EDGE], managers: [MANAGER] }));
  const patch = await server.next('patch', 'ingresses');
  expect(await patch.body).toMatchObject({ status: { loadBalancer: { ingress: null } } });
  patch.json(200, {});
  await done;
  expect(outcomes).toEqual(['cleared']);
});

test('the version of the API that the server has is used', async () => {
  server.discovers({ 'networking.k8s.io/v1': [], 'networking.k8s.io/v1beta1': ['ingresses'] });
  const done = see(ingress());
  const patch = await server.next('patch', 'ingresses');
  expect(patch.path).toBe('/apis/networking.k8s.io/v1beta1/namespaces/shop/ingresses/web/status');
  patch.json(200, {});
  await done;
});

test('after a conflict the newest version is read and written', async () => {
  const done = see(ingress());
  (await server.next('patch', 'ingresses')).refuse(409, 'Conflict');
  const list = await server.next('list', 'ingresses');
  expect([list.namespace, list.name]).toEqual(['shop', 'web']);
  list.page([ingress({ resourceVersion: '8', shows: ['old.example'] })], '8');
  const second = await server.next('patch', 'ingresses');
  expect(await second.body).toMatchObject({ metadata: { resourceVersion: '8' } });
  second.json(200, {});
  await done;
  expect(outcomes).toEqual(['set']);
});

test.each([
  ['it shows the edge now', ingress({ resourceVersion: '8', shows: [EDGE] }), 'same'],
  ['it has another class now', ingress({ resourceVersion: '8', className: 'b' }), 'overtaken'],
  ['it has another path now', ingress({ resourceVersion: '8', path: '/b' }), 'overtaken'],
  ['it was made anew', ingress({ resourceVersion: '8', uid: 'another' }), 'overtaken'],
  ['it is gone', null, 'overtaken'],
])('after a conflict nothing is written when %s', async (_, fresh, outcome) => {
  const done = see(ingress());
  (await server.next('patch', 'ingresses')).refuse(409, 'Conflict');
  (await server.next('list', 'ingresses')).page(fresh && [fresh], '8');
  await done;
  expect(outcomes).toEqual([outcome]);
  expect(server.calls.filter((it) => it.verb === 'patch')).toHaveLength(1);
});

test('who is always faster is left for the next time', async () => {
  const done = see(ingress());
  for (const resourceVersion of ['8', '9', '10', '11']) {
    (await server.next('patch', 'ingresses')).refuse(409, 'Conflict');
    (await server.next('list', 'ingresses')).page([ingress({ resourceVersion })], '11');
  }
  await done;
  expect(outcomes).toEqual(['contended']);
});

test('an Ingress that was deleted meanwhile is no error', async () => {
  const done = see(ingress());
  (await server.next('patch', 'ingresses')).refuse(404, 'NotFound');
  await done;
  expect(outcomes).toEqual(['overtaken']);
  expect(log.lines).toEqual([]);
});

test('a missing permission is logged once, asked for once in a namespace, and again later', async () => {
  const objects = [ingress({ name: 'a' }), ingress({ name: 'b' })];
  for (const _ of [1, 2]) {
    const done = see(...objects);
    (await server.next('patch', 'ingresses')).refuse(403, 'Forbidden');
    await done;
  }
  expect(outcomes).toEqual(['refused', 'refused', 'refused', 'refused']);
  expect(log.lines.map((it) => `${it.level} ${it.message}`)).toEqual([
    expect.stringMatching(/^warn .*patch on ingresses\.networking\.k8s\.io\/status/),
  ]);
  const done = see(ingress());
  (await server.next('patch', 'ingresses')).json(200, {});
  await done;
  expect(log.lines.at(-1)?.level).toBe('info');
});

test('a server that has no time is asked again', async () => {
  const done = see(ingress());
  (await server.next('patch', 'ingresses')).refuse(429, 'TooManyRequests', { 'retry-after': '1' });
  (await server.next('patch', 'ingresses')).refuse(503, 'ServiceUnavailable');
  (await server.next('patch', 'ingresses')).reset();
  (await server.next('patch', 'ingresses')).json(200, {});
  await done;
  expect(outcomes).toEqual(['set']);
});

test('nothing is written after the end of the term', async () => {
  const term = endlessTerm();
  const objects = [ingress({ name: 'a' }), ingress({ name: 'b' }), service()];
  const done = follow(served(compiled(objects, PUBLISHING), VERSION_1, 'published', term));
  const first = await server.next('patch', 'ingresses');
  term.end('somebody else leads');
  await expect(done).rejects.toThrow();
  await first.closed;
  expect(server.calls.filter((it) => it.verb === 'patch')).toHaveLength(1);
});
