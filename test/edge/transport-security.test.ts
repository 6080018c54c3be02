import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { valuesOf } from '../support/message.ts';
import { type Rig, startRig } from '../support/rig.ts';
import { snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, deadPort, ok, Upstream } from '../support/upstream.ts';
import { sendToWorker, type WorkerRequest } from '../support/worker-request.ts';
import { startUpstream, type Upstream as WsUpstream } from '../websocket/upstream.ts';

const POLICY = 'max-age=31536000; includeSubDomains';
const UPSTREAMS_OWN = 'max-age=1';

describe('Strict-Transport-Security', () => {
  let rig: Rig;
  let plain: Upstream;
  let own: Upstream;
  let chat: WsUpstream;

  beforeAll(async () => {
    const header = `Strict-Transport-Security: ${UPSTREAMS_OWN}`;
    plain = await Upstream.start(answering(ok('plain')));
    own = await Upstream.start(answering(ok('own', header, `strict-transport-security: preload`)));
    chat = await startUpstream({});
    rig = await startRig();
    const paths = {
      '/plain': plain.port,
      '/own': own.port,
      '/dead': await deadPort(),
      '/none': [],
      '/ws': chat.port,
    };
    const snapshot = snapshotOf({ 'a.example': paths, 'b.example': paths, 'c.example': paths });
    await rig.publish(
      withSettings(snapshot, {
        'a.example': { strictTransportSecurity: POLICY },
        'c.example': { strictTransportSecurity: 'max-age=0', httpsOnly: true, owner: 'c' },
      }),
    );
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await plain?.[Symbol.asyncDispose]();
    await own?.[Symbol.asyncDispose]();
    await chat?.[Symbol.asyncDispose]();
  });

  async function answered(request: WorkerRequest) {
    const response = await sendToWorker(rig, request);
    return [response.status, valuesOf(response, 'strict-transport-security')];
  }

  it.each([
    ['an answer of the upstream', '/plain', 200],
    ['an answer that has one itself, or two', '/own', 200],
    ['a path that is not there', '/unknown', 404],
    ['a Service without endpoints', '/none', 503],
    ['an upstream that nobody can connect to', '/dead', 502],
  ])('is on %s, once', async (_, target, status) => {
    expect(await answered({ target })).toEqual([status, [POLICY]]);
    expect(await answered({ target, method: 'HEAD' })).toEqual([status, [POLICY]]);
  });

  it('is on an answer to those who came by the connection of another', async () => {
    const request = { target: '/plain', cf: { tlsServerName: 'c.example' } };
    expect(await answered(request)).toEqual([421, [POLICY]]);
  });

  it('is on none over http, whoever wrote it', async () => {
    for (const target of ['/plain', '/own', '/unknown', '/none']) {
      expect((await answered({ scheme: 'http', target }))[1]).toEqual([]);
    }
    const redirected = { scheme: 'http', host: 'c.example', target: '/plain' } as const;
    expect(await answered(redirected)).toEqual([308, []]);
  });

  it("is the upstream's affair on hosts without a policy", async () => {
    const host = 'b.example';
    expect(await answered({ host, target: '/plain' })).toEqual([200, []]);
    const [status, values] = await answered({ host, target: '/own' });
    expect([status, String(values)]).toEqual([200, `${UPSTREAMS_OWN}, preload`]);
    expect(await answered({ host, target: '/unknown' })).toEqual([404, []]);
    expect(await answered({ host: 'unknown.example' })).toEqual([404, []]);
  });

  it("is each host's own, and its last word when taken back", async () => {
    expect(await answered({ host: 'c.example', target: '/own' })).toEqual([200, ['max-age=0']]);
  });

  it('is on the 101 of a WebSocket over https', async () => {
    const headers = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    expect(await answered({ target: '/ws', headers })).toEqual([101, [POLICY]]);
    expect(await answered({ scheme: 'http', target: '/ws', headers })).toEqual([101, []]);
  });
});
