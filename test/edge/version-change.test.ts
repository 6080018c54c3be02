import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint, Snapshot, VirtualHost } from '../../snapshot/types.ts';
import { type Rig, send, startRig } from '../support/rig.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';

const PUBLICATIONS = 20;
const CLIENTS = 6;
const HOSTS = ['a.example', 'b.other', 'c.third.example'];

/**
 * In version n all hosts are served by one of two upstreams, whose names change places with
 * each version, and of which one is always a trap: whoever takes the route of one version and the
 * endpoints of another walks into it.
 */
describe('a change of version', () => {
  let rig: Rig;
  let trap: Upstream;
  const upstreams: Upstream[] = [];

  beforeAll(async () => {
    trap = await Upstream.start(answering(ok('a mixture')));
    for (let n = 0; n <= PUBLICATIONS; n++) {
      upstreams.push(await Upstream.start(answering(ok(`version ${n}`))));
    }
    rig = await startRig();
    await rig.publish(version(0));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await trap?.[Symbol.asyncDispose]();
    await Promise.all(upstreams.map((upstream) => upstream[Symbol.asyncDispose]()));
  });

  function version(n: number): Snapshot {
    const endpoint = (port = 0): Endpoint => ({ host: '127.0.0.1', port });
    const used = `test/service-${n % 2}/80`;
    const virtualHosts = HOSTS.map((hostname): VirtualHost => {
      const source = { kind: 'Ingress', namespace: 'test', name: hostname };
      return {
        hostname,
        owner: 'test',
        routes: [{ match: { type: 'Prefix', path: '/' }, upstream: used, source }],
      };
    });
    return {
      virtualHosts,
      upstreams: [0, 1].map((parity) => ({
        name: `test/service-${parity}/80`,
        dialer: 'socket' as const,
        endpoints: [endpoint(n % 2 === parity ? upstreams[n]?.port : trap.port)],
      })),
    };
  }

  it('is seen by each request as before or as after it, and fails none', async () => {
    const seen: { readonly status: number; readonly body: string; readonly least: number }[] = [];
    let published = 0;
    let isOver = false;
    const client = async (index: number) => {
      for (let i = index; !isOver; i++) {
        // What was served when the request began may not be older when it ends.
        const least = published;
        const host = HOSTS[i % HOSTS.length] ?? '';
        const { status, body } = await send(rig.front.port, { host });
        seen.push({ status, body: String(body), least });
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, index) => client(index));
    try {
      for (let n = 1; n <= PUBLICATIONS; n++) {
        await rig.publish(version(n));
        published = n;
        // Some requests at least in each version.
        const enough = seen.length + CLIENTS;
        while (seen.length < enough) await new Promise(setImmediate);
      }
    } finally {
      isOver = true;
      await Promise.all(clients);
    }
    expect(seen.filter(({ status }) => status !== 200)).toEqual([]);
    expect(trap.dials).toBe(0);
    const older = seen.filter(({ body, least }) => Number(body.slice('version '.length)) < least);
    expect(older).toEqual([]);
    expect(new Set(seen.map(({ body }) => body)).size).toBeGreaterThan(PUBLICATIONS / 2);
  });

  it('leaves a request that has begun with the endpoint where it is', async () => {
    const { promise: go, resolve: goOn } = Promise.withResolvers<void>();
    await using slow = await Upstream.start(
      answering(async () => {
        await go;
        return ok('from the old endpoint');
      }),
    );
    const only = (port: number): Snapshot => {
      const snapshot = version(0);
      const endpoints = [{ host: '127.0.0.1', port }];
      return { ...snapshot, upstreams: snapshot.upstreams.map((it) => ({ ...it, endpoints })) };
    };
    await rig.publish(only(slow.port));
    const begun = send(rig.front.port);
    await slow.received(0);
    await rig.publish(only(upstreams[1]?.port ?? 0));
    expect(String((await send(rig.front.port)).body)).toBe('version 1');
    goOn();
    expect(String((await begun).body)).toBe('from the old endpoint');
  });
});
