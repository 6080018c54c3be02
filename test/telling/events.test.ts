import { describe, expect, test } from 'vitest';
import { type Notice, problemNotices, syncedNotices, wasNeverSynced } from '../../syncer/events.ts';
import { compiled, EDGE, ingress, PUBLISHING, service, VERSION_1, VERSION_2 } from './situation.ts';

const line = ({ type, reason, object, uid, note }: Notice) =>
  `${type} ${reason} ${object.kind}/${object.name} ${uid}: ${note}`;

describe('problems', () => {
  test('of an Ingress are told on it', () => {
    const lines = problemNotices(compiled([ingress({ service: 'wbe' })])).map(line);
    expect(lines).toEqual([
      'Warning ServiceNotFound Ingress/web uid-of-web: spec.rules[0].http.paths[0]: there is no Service shop/wbe; requests get 503 until it is created',
    ]);
  });

  test('of a Service are told on it and on the Ingresses of ours that name it', () => {
    const objects = [
      ingress({ name: 'one' }),
      ingress({ name: 'two', path: '/two' }),
      ingress({ name: 'of-others', className: 'nginx' }),
      ingress({ name: 'elsewhere', path: '/e', service: 'good' }),
      service('web', { type: 'ClusterIP', selector: { app: 'web' } }),
      service('good'),
    ];
    const notices = problemNotices(compiled(objects));
    expect(notices.map(({ object, uid }) => `${object.kind}/${object.name} ${uid}`)).toEqual([
      'Service/web uid-of-service-web',
      'Ingress/one uid-of-one',
      'Ingress/two uid-of-two',
    ]);
    expect(new Set(notices.map((it) => it.note)).size).toBe(1);
  });

  test('are told by each of two Causeways to its own Ingresses', () => {
    const mine = ingress({ name: 'mine', service: 'typo' });
    const theirs = ingress({ name: 'theirs', className: 'other', service: 'typo' });
    const options = { controllerName: 'acme.example/other', ingressClass: 'other' };
    const told = (compilation: ReturnType<typeof compiled>) => [
      ...problemNotices(compilation).map((it) => it.object.name),
      ...syncedNotices(compilation, VERSION_1, new Map(), () => true).notices.map(
        (it) => it.object.name,
      ),
    ];
    expect(told(compiled([mine, theirs]))).toEqual(['mine', 'mine']);
    expect(told(compiled([mine, theirs], options))).toEqual(['theirs', 'theirs']);
  });

  test('of one port of a Service are not told to Ingresses that use another', () => {
    const ports = [
      { port: 80, nodePort: 30080 },
      { port: 81, name: 'idle', nodePort: 30081 },
    ];
    const web = service('web', { type: 'NodePort', externalName: '', selector: { a: 'b' }, ports });
    const objects = [
      ingress({ name: 'busy' }),
      ingress({ name: 'idle', path: '/idle', port: 81 }),
      web,
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: 'web-1',
          namespace: 'shop',
          labels: { 'kubernetes.io/service-name': 'web' },
        },
        ports: [{ name: '', port: 8080 }],
        endpoints: [{ addresses: ['10.0.0.1'] }],
      },
      {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'n' },
        status: {
          addresses: [{ type: 'ExternalIP', address: '8.8.4.1' }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      },
    ];
    const told = problemNotices(compiled(objects)).map((it) => `${it.reason} ${it.object.name}`);
    expect(told).toEqual(['NoEndpoints web', 'NoEndpoints idle']);
  });

  test('of a Secret say on the Ingress which one is meant', () => {
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'tls', namespace: 'shop', uid: 'uid-of-tls' },
      type: 'kubernetes.io/tls',
      data: {},
    };
    const objects = [ingress({ secretName: 'tls' }), service(), secret];
    expect(problemNotices(compiled(objects)).map(line)).toEqual([
      expect.stringMatching(
        /^Warning SecretInvalid Ingress\/web uid-of-web: .*Secret shop\/tls cannot be served: data has no tls.crt/,
      ),
    ]);
  });

  test('a conflict is a warning to the loser, and a note to the winner that comes last', () => {
    const objects = [
      ingress({ name: 'new', service: 'other', createdAt: '2026-02-01T00:00:00Z' }),
      ingress({ name: 'old', createdAt: '2026-01-01T00:00:00Z' }),
      service(),
      service('other'),
    ];
    const notices = problemNotices(compiled(objects));
    expect(notices.map((it) => `${it.type} ${it.reason} ${it.object.name}`)).toEqual([
      'Warning RouteConflict new',
      'Normal RouteConflictWon old',
    ]);
  });

  test('of broken objects that no Ingress of ours names are not for us to tell', () => {
    const broken = { ...service('broken'), spec: { ports: 'none' } };
    expect(problemNotices(compiled([ingress(), service(), broken]))).toEqual([]);
    const named = problemNotices(compiled([ingress({ service: 'broken' }), broken])).map(line);
    expect(named[1]).toMatch(/^Warning InvalidObject Service\/broken : spec\.ports must be a list/);
  });

  test('are cut to what a server takes, between characters', () => {
    const compilation = compiled([ingress({ path: 'no/path' }), service()]);
    const [problem] = compilation.problems;
    if (!problem) throw new Error('the path is accepted');
    const long = { ...problem, message: 'ß'.repeat(2000) };
    const [notice] = problemNotices({ ...compilation, problems: [long] });
    const note = notice?.note ?? '';
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
    expect(Buffer.byteLength(note)).toBeGreaterThan(1020);
    expect(note).toMatch(/ß\.\.\.$/);
  });
});

describe('Synced', () => {
  const first = compiled([ingress(), service()]);
  const { digests } = syncedNotices(first, VERSION_1, new Map(), () => false);
  const since = (objects: Parameters<typeof compiled>[0]) =>
    syncedNotices(compiled(objects), VERSION_2, digests, () => true).notices.map(line);

  test('says how many routes and which version', () => {
    const { notices } = syncedNotices(first, VERSION_1, new Map(), () => false);
    expect(notices.map(line)).toEqual([
      'Normal Synced Ingress/web uid-of-web: 1 route published with version 111111111111',
    ]);
  });

  test('not again when only others change, nor when it is younger or older', () => {
    const other = ingress({ name: 'other', path: '/other' });
    const same = [ingress({ resourceVersion: '8', shows: [EDGE] }), service()];
    expect(since(same)).toEqual([]);
    expect(since([...same, other])).toEqual([
      'Normal Synced Ingress/other uid-of-other: 1 route published with version 222222222222',
    ]);
  });

  test('again when a path changes, when the backend does and when the first endpoint comes', () => {
    expect(since([ingress({ path: '/x' }), service()])).toHaveLength(1);
    expect(since([ingress({ service: 'b' }), service('b')])).toHaveLength(1);
    const broken = compiled([ingress(), service('web', { externalName: '' })]);
    const before = syncedNotices(broken, VERSION_1, new Map(), () => false).digests;
    expect(syncedNotices(first, VERSION_2, before, () => false).notices).toHaveLength(1);
  });

  test('when it was deleted and made anew', () => {
    expect(since([ingress({ uid: 'another' }), service()])).toHaveLength(1);
  });

  test('never without a route', () => {
    expect(since([ingress({ path: 'no-slash' }), service()])).toEqual([]);
  });

  test('says that nobody is there to answer', () => {
    const objects = [ingress({ path: '/x' }), service('web', { externalName: '' })];
    expect(since(objects)).toEqual([
      'Normal Synced Ingress/web uid-of-web: 1 route published with version 222222222222, 1 of them without an endpoint to send requests to',
    ]);
  });

  test('counts the routes that lost', () => {
    const lost = ingress({ name: 'z', service: 'b' });
    const paths = { ...ingress({ name: 'y', path: '/y', service: 'b' }) };
    const rules = [lost, paths].flatMap((it) => (it.spec as { rules: unknown[] }).rules);
    const both = { ...lost, spec: { ingressClassName: 'causeway', rules } };
    expect(since([ingress(), both, service(), service('b')])).toEqual([
      'Normal Synced Ingress/z uid-of-z: 1 of 2 routes published with version 222222222222',
    ]);
  });
});

describe('at the start of a term', () => {
  const now = Date.parse('2026-06-01T00:00:00Z');
  const told = (parts: Parameters<typeof ingress>[0], options = {}) => {
    const compilation = compiled([ingress(parts), service()], options);
    const isNew = wasNeverSynced(compilation, now);
    return syncedNotices(compilation, VERSION_1, null, isNew).notices.length === 1;
  };

  test('those that do not show the edge yet are told', () => {
    expect(told({}, PUBLISHING)).toBe(true);
    expect(told({ shows: [EDGE] }, PUBLISHING)).toBe(false);
  });

  test('without a status the young are', () => {
    expect(told({ createdAt: '2026-05-31T23:59:30Z' })).toBe(true);
    expect(told({ createdAt: '2026-05-31T23:58:00Z' })).toBe(false);
  });
});
