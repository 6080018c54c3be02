import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type EventOutcome, eventFollower } from '../../syncer/event-writer.ts';
import type { Follower } from '../../syncer/followers.ts';
import { ApiClient } from '../../syncer/kubernetes/api-client.ts';
import { endlessTerm } from '../../syncer/term.ts';
import { FakeClock, LogLines } from '../kubernetes/harness.ts';
import { type RawObject, ScriptedApiServer } from '../kubernetes/scripted-api-server.ts';
import {
  compiled,
  EDGE,
  ingress,
  PUBLISHING,
  served,
  service,
  VERSION_1,
  VERSION_2,
} from './situation.ts';

const NOW = Date.parse('2026-06-01T12:00:00.123Z');
const TYPO = ingress({ service: 'typo', shows: [EDGE] });
const term = endlessTerm();

let server: ScriptedApiServer;
let client: ApiClient;
let log: LogLines;
let clock: FakeClock;
let outcomes: EventOutcome[];
let follow: Follower;

beforeEach(async () => {
  server = await ScriptedApiServer.start();
  server.discovers({ 'events.k8s.io/v1': ['events'], 'networking.k8s.io/v1': ['ingresses'] });
  client = new ApiClient(server.kubeConfig);
  log = new LogLines();
  clock = new FakeClock();
  outcomes = [];
  follow = eventFollower({
    client,
    log,
    clock,
    wallMs: () => NOW,
    random: () => 0,
    instance: 'causeway-0',
    onOutcome: (outcome) => outcomes.push(outcome),
  });
});

afterEach(async () => {
  client.close();
  await server.close();
});

function see(
  objects: readonly RawObject[],
  version = VERSION_1,
  outcome: 'published' | 'pinned' = 'published',
) {
  return follow(served(compiled(objects, PUBLISHING), version, outcome, term));
}

const posts = () => server.calls.filter((it) => it.verb === 'post').length;

describe('an Event', () => {
  test('says in one sentence what is wrong with an Ingress', async () => {
    const done = see([TYPO]);
    const post = await server.next('post', 'events');
    expect(post.path).toBe('/apis/events.k8s.io/v1/namespaces/shop/events');
    expect(await post.body).toEqual({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: expect.stringMatching(/^web\.[0-9a-f]{20}$/), namespace: 'shop' },
      eventTime: '2026-06-01T12:00:00.123000Z',
      reportingController: 'causeway.dev/ingress-controller',
      reportingInstance: 'causeway-0',
      action: 'Compile',
      type: 'Warning',
      reason: 'ServiceNotFound',
      note: expect.stringContaining('there is no Service shop/typo'),
      regarding: {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'Ingress',
        namespace: 'shop',
        name: 'web',
        uid: 'uid-of-web',
      },
    });
    post.json(201, {});
    await done;
    expect(outcomes).toEqual(['created']);
  });

  test('is of the core group where the server has no other', async () => {
    const old = await ScriptedApiServer.start();
    const oldClient = new ApiClient(old.kubeConfig);
    const options = { log, clock, wallMs: () => NOW, random: () => 0, instance: 'causeway-0' };
    const done = eventFollower({ ...options, client: oldClient })(served(compiled([TYPO])));
    (await old.next('discovery', 'events.k8s.io/v1')).refuse(404, 'NotFound');
    const post = await old.next('post', 'events');
    expect(post.path).toBe('/api/v1/namespaces/shop/events');
    expect(await post.body).toMatchObject({
      apiVersion: 'v1',
      involvedObject: { kind: 'Ingress', uid: 'uid-of-web' },
      message: expect.stringContaining('shop/typo'),
      source: { component: 'causeway.dev/ingress-controller' },
      firstTimestamp: '2026-06-01T12:00:00.123Z',
      count: 1,
    });
    post.json(201, {});
    await done;
    oldClient.close();
    await old.close();
  });

  test('is told once, and after half an hour goes on as a series', async () => {
    const first = see([TYPO]);
    (await server.next('post', 'events')).json(201, {});
    await first;
    await see([TYPO]);
    expect(posts()).toBe(1);
    clock.time += 30 * 60_000;
    const later = see([TYPO]);
    const patch = await server.next('patch', 'events');
    expect(patch.path).toMatch(/\/namespaces\/shop\/events\/web\.[0-9a-f]{20}$/);
    expect(await patch.body).toEqual({
      series: { count: 2, lastObservedTime: '2026-06-01T12:00:00.123000Z' },
    });
    patch.json(200, {});
    await later;
    expect(outcomes).toEqual(['created', 'repeated']);
  });

  test('that the server has forgotten is told anew', async () => {
    const first = see([TYPO]);
    (await server.next('post', 'events')).json(201, {});
    await first;
    clock.time += 2 * 60 * 60_000;
    const later = see([TYPO]);
    (await server.next('patch', 'events')).refuse(404, 'NotFound');
    (await server.next('post', 'events')).json(201, {});
    await later;
    expect(outcomes).toEqual(['created', 'created']);
  });

  test('that another replica has told is known from then on', async () => {
    const done = see([TYPO]);
    (await server.next('post', 'events')).refuse(409, 'AlreadyExists');
    await done;
    await see([TYPO]);
    expect(outcomes).toEqual(['known']);
    expect(posts()).toBe(1);
  });
});

describe('Synced', () => {
  const SHOWN = ingress({ shows: [EDGE] });

  test('at the start of a term only for those that do not show the edge', async () => {
    const done = see([SHOWN, ingress({ name: 'new', path: '/new' }), service()]);
    const post = await server.next('post', 'events');
    expect(await post.body).toMatchObject({ reason: 'Synced', regarding: { name: 'new' } });
    post.json(201, {});
    await done;
    expect(posts()).toBe(1);
  });

  test('then for those whose routes change', async () => {
    await see([SHOWN, service()]);
    const done = see([ingress({ shows: [EDGE], path: '/x' }), service()], VERSION_2);
    const post = await server.next('post', 'events');
    expect(await post.body).toMatchObject({
      type: 'Normal',
      action: 'Publish',
      note: '1 route published with version 222222222222',
    });
    post.json(201, {});
    await done;
  });

  test('the next time, when the server was away', async () => {
    const objects = [ingress(), service()];
    const done = see(objects);
    for (let attempt = 0; attempt < 5; attempt++) (await server.next('post', 'events')).reset();
    await expect(done).rejects.toThrow();
    const again = see(objects, VERSION_2);
    const post = await server.next('post', 'events');
    expect(await post.body).toMatchObject({ reason: 'Synced' });
    post.json(201, {});
    await again;
    await see(objects, VERSION_2);
    expect(posts()).toBe(6);
  });

  test('later, when there is no room for all at once', async () => {
    const many = Array.from({ length: 102 }, (_, i) => ingress({ name: `i${i}`, path: `/${i}` }));
    const first = see([...many, service()]);
    for (let i = 0; i < 100; i++) (await server.next('post', 'events')).json(201, {});
    await first;
    expect(outcomes.filter((it) => it === 'dropped')).toHaveLength(2);
    clock.time += 1000;
    const second = see([...many, service()], VERSION_2);
    for (let i = 0; i < 2; i++) (await server.next('post', 'events')).json(201, {});
    await second;
    expect(posts()).toBe(102);
  });

  test('not while a person has pinned the pointer', async () => {
    await see([ingress(), service()], VERSION_1, 'pinned');
    expect(posts()).toBe(0);
  });
});

describe('an object that could not be read', () => {
  const broken = { ...ingress(), spec: { ingressClassName: 'causeway', rules: 'none' } };

  test('is asked for its uid, and told when it is ours', async () => {
    const done = see([broken]);
    const list = await server.next('list', 'ingresses');
    expect([list.namespace, list.name]).toEqual(['shop', 'web']);
    list.page([broken], '9');
    const post = await server.next('post', 'events');
    expect(await post.body).toMatchObject({
      reason: 'InvalidObject',
      regarding: { uid: 'uid-of-web' },
    });
    post.json(201, {});
    await done;
  });

  test('is left alone when it is of another class, and not asked for again', async () => {
    const done = see([broken]);
    const theirs = { ...broken, spec: { ingressClassName: 'nginx', rules: 'none' } };
    (await server.next('list', 'ingresses')).page([theirs], '9');
    await done;
    await see([broken]);
    expect(outcomes).toEqual(['known']);
    expect(posts()).toBe(0);
  });
});

describe('failures', () => {
  test('a missing permission is logged once and asked for once in a namespace', async () => {
    const objects = [TYPO, ingress({ name: 'b', path: '/b', service: 'typo', shows: [EDGE] })];
    for (const _ of [1, 2]) {
      const done = see(objects);
      (await server.next('post', 'events')).refuse(403, 'Forbidden');
      await done;
    }
    expect(outcomes).toEqual(['refused', 'refused', 'refused', 'refused']);
    expect(log.lines).toHaveLength(1);
    expect(log.lines[0]?.message).toContain('create and patch on events.events.k8s.io');
  });

  test('a namespace that is going takes no more Events, which is nobody’s fault', async () => {
    const done = see([TYPO]);
    const message = 'unable to create new content in namespace shop because it is being terminated';
    const status = { kind: 'Status', code: 403, reason: 'Forbidden', message };
    (await server.next('post', 'events')).json(403, status);
    await done;
    expect(outcomes).toEqual(['known']);
    expect(log.lines).toEqual([]);
  });

  test('an Event the server does not take is not offered again', async () => {
    const done = see([TYPO]);
    (await server.next('post', 'events')).refuse(422, 'Invalid');
    await done;
    await see([TYPO]);
    expect(posts()).toBe(1);
    expect(log.lines.map((it) => it.level)).toEqual(['warn']);
  });

  test('what got no answer is told the next time', async () => {
    const done = see([TYPO]);
    for (let attempt = 0; attempt < 5; attempt++) {
      (await server.next('post', 'events')).refuse(503, 'ServiceUnavailable');
    }
    await expect(done).rejects.toThrow('503');
    const again = see([TYPO]);
    (await server.next('post', 'events')).json(201, {});
    await again;
    expect(outcomes).toEqual(['created']);
  });

  test('nothing is written after the end of the term', async () => {
    const short = endlessTerm();
    short.end('somebody else leads');
    const late = follow(served(compiled([TYPO]), VERSION_1, 'published', short));
    await expect(late).rejects.toThrow();
    expect(posts()).toBe(0);
  });
});
