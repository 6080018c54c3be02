import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN, FaultyEdge } from '../support/faulty-edge.ts';
import { type ClientMessage, namesOf, valueIn, valuesOf } from '../support/message.ts';
import { ADMIN_HOST, type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { type HostSettings, snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

const PATHS = ['/healthz', '/api/version', '/api/routes', '/api/problems'];
const PROBLEM = {
  object: { kind: 'Ingress', namespace: 'test', name: 'web' },
  reason: 'ServiceNotFound',
  message: 'there is no Service "x"; \u00e9',
} as const;

const SETTINGS = {
  owner: 'shop',
  strictTransportSecurity: 'max-age=1',
  clientCertificates: {
    verify: 'optional',
    authorities: ['PEM'],
    depthMax: 2,
    commonName: 'a.*',
    passToUpstream: true,
  },
} as const satisfies HostSettings;

describe('the admin API', () => {
  let rig: Rig;
  let upstream: Upstream;
  let version: string;

  beforeAll(async () => {
    upstream = await Upstream.start(answering(ok('the catch-all')));
    rig = await startRig();
    version = await rig.publish(
      withSettings(
        snapshotOf({
          'a.example': { '/': upstream.port },
          'set.example': { '/': upstream.port },
          '*': { '/': upstream.port },
        }),
        { 'set.example': { ...SETTINGS, httpsOnly: true } },
      ),
      [PROBLEM],
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  function ask(target: string, request: RawRequest = {}): Promise<ClientMessage> {
    const headers = [`Authorization: Bearer ${rig.edge.admin.token}`];
    return send(rig.front.port, { host: ADMIN_HOST, target, headers, ...request });
  }

  async function json(target: string): Promise<unknown> {
    const response = await ask(target);
    expect(response.status).toBe(200);
    expect(valueIn(response, 'content-type')).toMatch(/^application\/json/);
    return JSON.parse(String(response.body));
  }

  it('is well', async () => {
    const response = await ask('/healthz');
    expect([response.status, String(response.body)]).toEqual([200, 'ok\n']);
  });

  it('tells the version', async () => {
    expect(await json('/api/version')).toEqual({ cluster: 'test', version, refreshError: null });
  });

  it('tells the routes', async () => {
    const source = { kind: 'Ingress', namespace: 'test', name: 'a.example' };
    const endpoints = [{ host: '127.0.0.1', port: upstream.port }];
    const name = `test/127.0.0.1:${upstream.port}/80`;
    const routes = await json('/api/routes');
    expect(routes).toMatchObject({ version, upstreams: [{ name, dialer: 'socket', endpoints }] });
    expect(routes).toMatchObject({
      virtualHosts: [
        {
          hostname: 'a.example',
          owner: 'test',
          routes: [{ match: { type: 'Prefix', path: '/' }, upstream: name, source }],
        },
        { hostname: 'set.example', ...SETTINGS, routes: [{ httpsOnly: true }] },
        { hostname: '*' },
      ],
    });
  });

  it('tells the problems', async () => {
    const { object, ...problem } = PROBLEM;
    expect(await json('/api/problems')).toEqual({ problems: [{ ...object, ...problem }] });
  });

  it('is found by its host in any case, with port and dot, and by no other', async () => {
    const host = `${ADMIN_HOST.toUpperCase()}.:8787`;
    expect(String((await ask('/healthz', { host })).body)).toBe('ok\n');
    for (const other of ['a.example', `x.${ADMIN_HOST}`, `${ADMIN_HOST}.example`]) {
      expect(String((await ask('/healthz', { host: other })).body)).toBe('the catch-all');
    }
  });

  it('answers 404 for what it does not have', async () => {
    for (const target of ['/', '/api', '/api/', '/api/nothing', '/API/VERSION', '//api/version']) {
      expect([target, (await ask(target)).status]).toEqual([target, 404]);
    }
    expect((await ask('/api/version', { method: 'DELETE' })).status).toBe(404);
  });

  it.each([
    ['no token', []],
    ['a wrong token', ['Authorization: Bearer wrong']],
    ['an empty token', ['Authorization: Bearer ']],
    ['another scheme', ['Authorization: Basic dGVzdA==']],
    ['a token in a cookie', ['Cookie: token=test']],
  ])('with %s looks as if there were nothing', async (_, headers) => {
    upstream.clear();
    const nothing = await ask('/x', { host: ADMIN_HOST, headers });
    for (const target of PATHS) {
      const response = await ask(target, { headers });
      expect(response.status).toBe(404);
      expect(namesOf(response)).toEqual(namesOf(nothing));
      expect(valueIn(response, 'content-type')).toBe('text/plain; charset=utf-8');
      expect(valueIn(response, 'x-request-id')).toMatch(/^[0-9a-f]{32}$/);
    }
    // Nor does the catch-all get to see a token that is nearly right.
    expect(upstream.dials).toBe(0);
  });

  it('does not take more than the token, nor less', async () => {
    const { token } = rig.edge.admin;
    for (const wrong of [`${token}x`, token.slice(1), token.toUpperCase(), `${token} ${token}`]) {
      const headers = [`Authorization: Bearer ${wrong}`];
      expect((await ask('/healthz', { headers })).status).toBe(404);
    }
  });

  it('never says the token, the keys or the log in an answer', async () => {
    for (const target of PATHS) {
      const response = await ask(target);
      expect(String(response.body)).not.toContain(rig.edge.admin.token);
      expect(valuesOf(response, 'authorization')).toEqual([]);
    }
  });

  it('is not there without a token in the settings', async () => {
    await using edge = await FaultyEdge.start('', '');
    await edge.publish(snapshotOf({ '*': { '/': upstream.port } }));
    for (const headers of [[], ['Authorization: Bearer '], ['Authorization: Bearer undefined']]) {
      const request = { host: ADMIN.host, target: `http://${ADMIN.host}/healthz`, headers };
      const response = await send(edge.port, request);
      // A host like any other.
      expect(String(response.body)).toBe('the catch-all');
    }
  });
});
