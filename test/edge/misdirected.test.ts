import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { valueIn } from '../support/message.ts';
import { type Rig, startRig } from '../support/rig.ts';
import { snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { sendToWorker } from '../support/worker-request.ts';

/** Hosts of many shards would be found one by one as well: see the last test. */
describe('a connection that was opened for one host and asks for another', () => {
  let rig: Rig;
  let upstream: Upstream;

  beforeAll(async () => {
    upstream = await Upstream.start(answering(ok('served')));
    rig = await startRig();
    const paths = { '/x': upstream.port };
    const hosts = ['a.one.example', 'b.one.example', '*.one.example', 'a.two.example'];
    const nobodys = 'nobodys.example';
    const all = [...hosts, '*.two.example', nobodys];
    const snapshot = snapshotOf(Object.fromEntries(all.map((host) => [host, paths])));
    await rig.publish(
      withSettings(snapshot, {
        'a.one.example': { owner: 'one' },
        'b.one.example': { owner: 'one' },
        '*.one.example': { owner: 'wild' },
        'a.two.example': { owner: 'two' },
        '*.two.example': { owner: 'two' },
        [nobodys]: { owner: '' },
      }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  async function status(tlsServerName: unknown, host: string, target = '/x'): Promise<number> {
    const cf = tlsServerName === undefined ? {} : { tlsServerName };
    return (await sendToWorker(rig, { host, target, cf })).status;
  }

  it.each([
    ['a.one.example', 'a.two.example'],
    ['a.two.example', 'a.one.example'],
    // By the host that serves the name, not by its domain.
    ['a.one.example', 'c.one.example'],
    ['c.one.example', 'a.one.example'],
    ['c.two.example', 'c.one.example'],
    ['A.One.Example.', 'a.two.example'],
    ['a.one.example', 'A.TWO.example:443'],
  ])('of another owner is refused: %s, %s', async (serverName, host) => {
    const response = await sendToWorker(rig, {
      host,
      target: '/x',
      cf: { tlsServerName: serverName },
    });
    expect(response.startLine).toBe('HTTP/1.1 421 Misdirected Request');
    const id = valueIn(response, 'x-request-id');
    expect(String(response.body)).toBe(`421 Misdirected Request\nrequest id: ${id}\n`);
    expect(upstream.dials).toBe(0);
    // Nobody who asks learns which paths there are.
    expect(await status(serverName, host, '/unknown')).toBe(421);
  });

  it.each([
    ['a.one.example', 'a.one.example'],
    ['A.ONE.example.', 'a.one.example'],
    ['a.one.example', 'A.One.example.:443'],
    ['a.one.example', 'b.one.example'],
    ['a.two.example', 'c.two.example'],
    ['c.one.example', 'd.one.example'],
    ['unknown.example', 'a.one.example'],
    ['', 'a.one.example'],
    [undefined, 'a.one.example'],
    [null, 'a.one.example'],
    [17, 'a.one.example'],
    ['nobodys.example', 'a.one.example'],
    ['a.one.example', 'nobodys.example'],
  ])('is served where there is nothing to object: %s, %s', async (serverName, host) => {
    expect(await status(serverName, host)).toBe(200);
    expect(await status(serverName, host, '/unknown')).toBe(404);
  });

  it('is told by nothing that a client sends', async () => {
    const headers = ['tlsServerName: a.two.example', 'SNI: a.two.example', 'X-SNI: a.two.example'];
    const request = { host: 'a.one.example', target: '/x', headers };
    expect((await sendToWorker(rig, request)).status).toBe(200);
  });

  it('has no meaning without TLS', async () => {
    const cf = { tlsServerName: 'a.two.example' };
    const request = { scheme: 'http', host: 'a.one.example', target: '/x', cf } as const;
    expect((await sendToWorker(rig, request)).status).toBe(200);
  });

  it('is in the log with the names of both', async () => {
    const response = await sendToWorker(rig, {
      host: 'a.one.example',
      target: '/x',
      cf: { tlsServerName: 'a.two.example' },
    });
    const line = await rig.log.line(valueIn(response, 'x-request-id') ?? 'no id');
    const { level, reason, cause } = JSON.parse(line);
    expect([level, reason]).toEqual(['warn', 'Misdirected']);
    expect(cause).toBe(
      'the connection is for a.two.example of namespace two, the request for a.one.example of namespace one',
    );
  });
});

describe('of a cluster with many hosts', () => {
  it('the one that the connection was opened for is looked up where it is', async () => {
    await using upstream = await Upstream.start(answering(ok('served')));
    await using rig = await startRig();
    const names = Array.from({ length: 600 }, (_, i) => `a.host-${i}.example`);
    const paths = Object.fromEntries(
      Array.from({ length: 10 }, (_, i) => [`/a-rather-long-path-${i}`, upstream.port]),
    );
    const snapshot = snapshotOf(Object.fromEntries(names.map((host) => [host, paths])));
    const owners = names.map((host, i) => [host, { owner: `owner-${i % 3}` }]);
    await rig.publish(withSettings(snapshot, Object.fromEntries(owners)));
    const target = '/a-rather-long-path-1';
    for (const i of [1, 60, 599]) {
      const host = names[0] ?? '';
      const cf = { tlsServerName: names[i] };
      const { status } = await sendToWorker(rig, { host, target, cf });
      expect(status).toBe(i % 3 === 0 ? 200 : 421);
    }
  });
});
