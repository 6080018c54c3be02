import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiClient } from '../../syncer/kubernetes/api-client.ts';
import { ListWatch, type ListWatchContext } from '../../syncer/kubernetes/list-watch.ts';
import { ObjectStore } from '../../syncer/kubernetes/object-store.ts';
import type { Collection } from '../../syncer/kubernetes/resource.ts';
import { Changes, FakeClock, LogLines } from './harness.ts';
import { type RawObject, ScriptedApiServer } from './scripted-api-server.ts';

const SERVICES: Collection = { kind: 'Service', namespace: null, name: null };

let server: ScriptedApiServer;
let client: ApiClient;
let clock: FakeClock;
let log: LogLines;
let changes: Changes;
let watches: ListWatch[];

beforeEach(async () => {
  server = await ScriptedApiServer.start();
  client = new ApiClient(server.kubeConfig);
  clock = new FakeClock();
  log = new LogLines();
  changes = new Changes();
  watches = [];
});

afterEach(async () => {
  await Promise.all(watches.map((watch) => watch.stop()));
  client.close();
  await server.close();
});

const counters = () => ({ restarts: 0, lists: 0, lastError: null });

function startWatch(overrides: Partial<ListWatchContext> = {}, collection = SERVICES): ListWatch {
  const context: ListWatchContext = {
    client,
    clock,
    logger: log,
    random: () => 0,
    annotationFilter: () => true,
    limits: { timeoutSeconds: 45, silenceMs: 55_000 },
    backOffMs: { first: 100, last: 1000 },
    steadyMs: 5000,
    ...overrides,
  };
  const watch = new ListWatch(collection, new ObjectStore(), context, counters(), changes.note);
  watches.push(watch);
  watch.start();
  return watch;
}

function service(name: string, resourceVersion: string, externalName = 'a.example'): RawObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', resourceVersion },
    spec: { type: 'ExternalName', externalName },
  };
}

const seen = (watch: ListWatch): string[] =>
  [...watch.store.objects()]
    .map((it) => (it.kind === 'Service' ? `${it.name}=${it.externalName}` : it.kind))
    .sort();

const nextList = () => server.next('list', 'services');
const nextWatch = () => server.next('watch', 'services');

/** A watch that has listed `a` at version 10 and waits in its first watch. */
async function watchingA(overrides: Partial<ListWatchContext> = {}) {
  const watch = startWatch(overrides);
  (await nextList()).page([service('a', '1')], '10');
  const call = (await nextWatch()).accept();
  return { watch, call };
}

describe('list and watch', () => {
  test('lists in pages, then watches from the list', async () => {
    const watch = startWatch();
    const first = await nextList();
    expect(first.path).toBe('/api/v1/services');
    expect(Object.fromEntries(first.query)).toEqual({ limit: '500' });
    first.page([service('a', '1')], '10', 'next');
    const second = await nextList();
    expect(second.query.get('continue')).toBe('next');
    expect(watch.answered).toBe(false);
    second.page([service('b', '2')], '10');
    const call = await nextWatch();
    expect(Object.fromEntries(call.query)).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: '10',
      timeoutSeconds: '45',
    });
    expect(watch.answered).toBe(true);
    expect(seen(watch)).toEqual(['a=a.example', 'b=a.example']);
    expect(changes.count).toBe(1);
  });

  test('an empty list, with items null, is an answer', async () => {
    const watch = startWatch();
    (await nextList()).page(null, '10');
    await nextWatch();
    expect(watch.answered).toBe(true);
    expect(changes.count).toBe(1);
  });

  test('follows additions, changes and deletions', async () => {
    const { watch, call } = await watchingA();
    call.event('ADDED', service('b', '11'));
    await changes.until(() => watch.store.size === 2);
    call.event('MODIFIED', service('a', '12', 'b.example'));
    await changes.until(() => seen(watch)[0] === 'a=b.example');
    call.event('DELETED', service('b', '13'));
    await changes.until(() => watch.store.size === 1);
    expect(seen(watch)).toEqual(['a=b.example']);
  });

  test('a letter cut in two by the network is still that letter, and U+2028 ends no line', async () => {
    const { watch, call } = await watchingA();
    const event = JSON.stringify({ type: 'MODIFIED', object: service('a', '11', 'b\u2028é') });
    const bytes = Buffer.from(`${event}\n`);
    const cut = bytes.indexOf(0xc3) + 1;
    // Two chunks of the transfer encoding are two reads, in however many packets they travel.
    call.send(bytes.subarray(0, cut)).send(bytes.subarray(cut));
    await changes.until(() => changes.count === 2);
    expect(seen(watch)).toEqual(['a=b\u2028é']);
  });

  test('a malformed object is a problem and hurts no other', async () => {
    const watch = startWatch();
    const bad = { ...service('bad', '1'), spec: { ports: 'none' } };
    (await nextList()).page([bad, service('a', '2')], '10');
    const call = (await nextWatch()).accept();
    expect(seen(watch)).toEqual(['a=a.example']);
    expect([...watch.store.problems()]).toMatchObject([
      { object: { kind: 'Service', namespace: 'default', name: 'bad' }, reason: 'InvalidObject' },
    ]);
    call.event('MODIFIED', service('bad', '11'));
    await changes.until(() => watch.store.size === 2 && seen(watch).length === 2);
    expect([...watch.store.problems()]).toEqual([]);
  });

  test('does not wake anybody for what does not matter', async () => {
    const { watch, call } = await watchingA();
    const { metadata, ...rest } = service('a', '11');
    call.event('MODIFIED', { ...rest, metadata: { ...metadata, annotations: { 'x.io/y': 'z' } } });
    call.event('ADDED', service('b', '12'));
    await changes.until(() => watch.store.size === 2);
    expect(changes.count).toBe(2);
  });
});

describe('a watch that ends', () => {
  test('by its time limit goes on at once from the last version, bookmarks included', async () => {
    const { call } = await watchingA();
    call.event('ADDED', service('b', '11'));
    await changes.until(() => changes.count === 2);
    clock.time += 45_000;
    call.bookmark('20').end();
    expect((await nextWatch()).query.get('resourceVersion')).toBe('20');
    expect(clock.slept).toEqual([]);
  });

  test('too early and again and again backs off more and more', async () => {
    await watchingA().then(({ call }) => call.end());
    for (let attempt = 0; attempt < 5; attempt++) (await nextWatch()).accept().end();
    await nextWatch();
    expect(clock.slept).toEqual([100, 200, 400, 800, 1000, 1000]);
  });

  test('with a reset in the middle of an event goes on from the last whole one', async () => {
    const { watch, call } = await watchingA();
    call.event('ADDED', service('b', '11'));
    await changes.until(() => watch.store.size === 2);
    call.send(JSON.stringify({ type: 'ADDED', object: service('c', '12') }).slice(0, 60));
    call.reset();
    const again = await nextWatch();
    expect(again.query.get('resourceVersion')).toBe('11');
    expect(watch.failure).not.toBeNull();
    again.accept().event('ADDED', service('c', '12'));
    await changes.until(() => watch.store.size === 3);
    expect(watch.failure).toBeNull();
    expect(log.lines.map((it) => it.level)).toEqual(['warn', 'info']);
  });

  test('with half an event, even one that could be read, goes on from the last whole one', async () => {
    const { watch, call } = await watchingA();
    call.send(JSON.stringify({ type: 'ADDED', object: service('b', '11') })).end();
    expect((await nextWatch()).query.get('resourceVersion')).toBe('10');
    expect(watch.store.size).toBe(1);
  });

  test('with an event that cannot be read lists again, and does not log its text', async () => {
    const { call } = await watchingA();
    call.send('{"type":"ADDED","object":"hunter2"}\n');
    await nextList();
    expect(JSON.stringify(log.lines)).not.toContain('hunter2');
  });

  test('by silence is dropped by us', async () => {
    const { call, watch } = await watchingA({ limits: { timeoutSeconds: 45, silenceMs: 50 } });
    await call.closed;
    const again = (await nextWatch()).accept();
    expect(again.query.get('resourceVersion')).toBe('10');
    expect(log.lines[0]?.fields.error).toBe('no byte from the API server for 0.05 s');
    // Also on a connection that was used before.
    await again.closed;
    expect(watch.answered).toBe(true);
  });
});

describe('an expired version', () => {
  test.each(['refused at the start', 'in the middle of the stream'])('%s', async (when) => {
    const watch = startWatch();
    (await nextList()).page([service('a', '1'), service('b', '2')], '10');
    const call = await nextWatch();
    if (when === 'refused at the start') call.refuse(410, 'Expired');
    else call.accept().expired().end();
    const list = await nextList();
    // Readers see the old set until the new one is whole.
    list.page([service('a', '1')], '30', 'next');
    const second = await nextList();
    expect(seen(watch)).toEqual(['a=a.example', 'b=a.example']);
    second.page([service('c', '25')], '30');
    const again = await nextWatch();
    expect(again.query.get('resourceVersion')).toBe('30');
    // The deletion of b was missed, and found.
    expect(seen(watch)).toEqual(['a=a.example', 'c=a.example']);
    expect(changes.count).toBe(2);
    expect(log.lines).toEqual([]);
  });

  test('of a list that brings nothing new wakes nobody', async () => {
    const { call } = await watchingA();
    call.expired().end();
    (await nextList()).page([service('a', '1')], '30');
    await nextWatch();
    expect(changes.count).toBe(1);
  });

  test('of a continue token starts the list over, in one piece', async () => {
    const watch = startWatch();
    (await nextList()).page([service('a', '1')], '10', 'old');
    (await nextList()).refuse(410, 'Expired');
    const whole = await nextList();
    expect(Object.fromEntries(whole.query)).toEqual({});
    whole.page([service('b', '2')], '20');
    expect((await nextWatch()).query.get('resourceVersion')).toBe('20');
    expect(seen(watch)).toEqual(['b=a.example']);
  });

  test('for ever does not spin', async () => {
    await watchingA().then(({ call }) => call.expired().end());
    for (let attempt = 0; attempt < 3; attempt++) {
      (await nextList()).page([], '20');
      (await nextWatch()).refuse(410, 'Expired');
    }
    await nextList();
    expect(clock.slept).toEqual([100, 200, 400, 800]);
  });
});

describe('a server in trouble', () => {
  test('that answers 500 is asked again, less and less often, and logged once', async () => {
    const watch = startWatch();
    for (let attempt = 0; attempt < 4; attempt++) (await nextList()).refuse(500, 'InternalError');
    expect(watch.answered).toBe(false);
    (await nextList()).page([service('a', '1')], '10');
    const call = (await nextWatch()).accept();
    call.event('ADDED', service('b', '11'));
    await changes.until(() => watch.store.size === 2);
    expect(clock.slept).toEqual([100, 200, 400, 800]);
    expect(log.lines.map((it) => it.level)).toEqual(['warn', 'info']);
    // An event came: the next trouble begins anew.
    call.reset();
    await nextWatch();
    expect(clock.slept.at(-1)).toBe(100);
  });

  test('that says when to come back is obeyed', async () => {
    startWatch();
    (await nextList()).refuse(429, 'TooManyRequests', { 'retry-after': '7' });
    await nextList();
    expect(clock.slept).toEqual([7000]);
  });

  test('jitter takes away up to a half', async () => {
    startWatch({ random: () => 0.999 });
    (await nextList()).refuse(500, 'InternalError');
    await nextList();
    expect(clock.slept[0]).toBeCloseTo(50, 0);
  });

  test('that was away is listed again: it may come back with older data', async () => {
    const { watch, call } = await watchingA();
    call.reset();
    (await nextWatch()).reset();
    (await nextList()).page([], '5');
    expect((await nextWatch()).query.get('resourceVersion')).toBe('5');
    expect(watch.store.size).toBe(0);
  });

  test('tells of an outage once, whatever its errors', async () => {
    const { call } = await watchingA();
    call.reset();
    (await nextWatch()).refuse(503, 'ServiceUnavailable');
    // A server that starts refuses everybody until it has read its rules.
    (await nextList()).refuse(403, 'Forbidden');
    (await nextList()).reset();
    (await nextList()).page([], '20');
    (await nextWatch()).accept();
    await log.written.until(() => log.lines.length === 2);
    expect(log.lines).toMatchObject([
      { level: 'warn', fields: { error: 'the connection broke' } },
      { level: 'info', message: 'watching services in all namespaces again' },
    ]);
  });

  test('a slow list leaves what was there', async () => {
    const { watch, call } = await watchingA();
    call.expired().end();
    const slow = await nextList();
    expect(seen(watch)).toEqual(['a=a.example']);
    slow.page([], '20');
    await changes.until(() => watch.store.size === 0);
  });
});

describe('a server that refuses', () => {
  test('names what is missing, goes on by itself, and a kind stays unanswered', async () => {
    const watch = startWatch();
    (await nextList()).refuse(403, 'Forbidden');
    (await nextList()).refuse(403, 'Forbidden');
    const list = await nextList();
    expect(watch.answered).toBe(false);
    expect(log.lines).toMatchObject([
      {
        level: 'warn',
        fields: { verb: 'list', resource: 'services', namespace: null },
        message: expect.stringContaining(
          'may not list services in all namespaces: allow list and watch',
        ),
      },
    ]);
    list.page([service('a', '1')], '10');
    (await nextWatch()).refuse(403, 'Forbidden');
    // Lists instead of watches, the best that can be had.
    (await nextList()).page([service('a', '1')], '10');
    (await nextWatch()).refuse(403, 'Forbidden');
    await nextList();
    expect(watch.answered).toBe(true);
    expect(log.lines[1]).toMatchObject({ fields: { verb: 'watch' } });
  });

  test.each([403, 404])('a single object with %i counts it as absent', async (status) => {
    const secret: Collection = { kind: 'Secret', namespace: 'shop', name: 'tls' };
    const watch = startWatch({}, secret);
    const call = await server.next('list', 'secrets');
    expect(call.path).toBe('/api/v1/namespaces/shop/secrets');
    expect(call.query.get('fieldSelector')).toBe('metadata.name=tls');
    call.refuse(status, 'Refused');
    (await server.next('list', 'secrets')).refuse(status, 'Refused');
    const again = await server.next('list', 'secrets');
    expect(watch.answered).toBe(true);
    expect(changes.count).toBe(1);
    expect(log.lines).toMatchObject([
      { fields: { verb: 'list', resource: 'secrets', namespace: 'shop', name: 'tls' } },
    ]);
    again.page([], '10');
    expect((await server.next('watch', 'secrets')).query.get('fieldSelector')).toBe(
      'metadata.name=tls',
    );
  });

  test('with 401 or 500 says nothing about a single object', async () => {
    const watch = startWatch({}, { kind: 'Secret', namespace: 'shop', name: 'tls' });
    (await server.next('list', 'secrets')).refuse(401, 'Unauthorized');
    (await server.next('list', 'secrets')).refuse(500, 'InternalError');
    await server.next('list', 'secrets');
    expect(watch.answered).toBe(false);
  });
});

test('stop ends a watch, a list and a sleep', async () => {
  const { watch, call } = await watchingA();
  await watch.stop();
  await call.closed;
  const listing = startWatch();
  const list = await nextList();
  await listing.stop();
  await list.closed;
});
