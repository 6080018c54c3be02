import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { Front } from '../../local/front.ts';
import { defaultCertificate } from '../../local/tls/default-certificate.ts';
import { newAuthority } from '../support/certificates.ts';
import { readResponse } from '../support/message.ts';
import { headText, type Rig, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { handshake, shownTo } from '../support/tls-client.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';
import { Peer } from '../websocket/peer.ts';
import { startUpstream } from '../websocket/upstream.ts';
import { servedCertificate, tlsState } from './support/served-certificate.ts';

const fronts: Front[] = [];

async function start(httpPort = 0, httpsPort = 0): Promise<Front> {
  const certificate = await defaultCertificate(null, Date.now());
  const host = '127.0.0.1';
  const front = await Front.start({ host, httpPort, httpsPort, certificate, report: () => {} });
  fronts.push(front);
  return front;
}

afterEach(async () => {
  for (const front of fronts.splice(0)) await front.close();
});

describe('the front', () => {
  it('lets requests and handshakes wait until it knows what to do with them', async () => {
    await using upstream = await Upstream.start(answering(ok('at last')));
    const front = await start();
    const plain = await Wire.dial(front.port);
    plain.write(headText({ headers: ['Content-Length: 2'], method: 'POST' }));
    plain.write('hi');
    const secure = handshake(front.httpsPort, 'a.example');
    const gone = await Wire.dial(front.port);
    gone.write(headText({}));
    gone.reset();
    const issued = await (await newAuthority()).issue({ names: ['a.example'] });
    front.present(tlsState({ 'a.example': [servedCertificate(issued)] }));
    const socket = await secure;
    expect(socket.getPeerX509Certificate()?.subject).toBe('CN=a.example');
    const wire = new Wire(socket);
    wire.write(headText({}));
    // The worker's place is taken by an upstream of ours: it answers two connections.
    front.serve({ host: '127.0.0.1', port: upstream.port });
    expect((await readResponse(plain)).body.toString()).toBe('at last');
    expect((await readResponse(wire)).body.toString()).toBe('at last');
    expect(upstream.requests.map(({ target }) => target).sort()).toEqual([
      'http://a.example/',
      'https://a.example/',
    ]);
    for (const it of [plain, wire]) it.destroy();
  });

  it('closes with handshakes and sessions open', async () => {
    const front = await start();
    const early = await Wire.dial(front.httpsPort);
    front.present(tlsState({}));
    const idle = await handshake(front.httpsPort, 'a.example', { ALPNProtocols: ['h2'] });
    idle.on('error', () => {});
    const closed = once(idle, 'close');
    await front.close();
    await closed;
    await early.rest();
    early.destroy();
  });

  it('says which flag chooses the port that is taken, and holds no other', async () => {
    const first = await start();
    await expect(start(first.port)).rejects.toThrow(/in use; choose another with --http-port$/);
    await expect(start(0, first.httpsPort)).rejects.toThrow(
      /in use; choose another with --https-port$/,
    );
    const free = await start();
    const { port, httpsPort } = free;
    await free.close();
    await expect(start(port, first.httpsPort)).rejects.toThrow();
    const again = await start(port, httpsPort);
    expect([again.port, again.httpsPort]).toEqual([port, httpsPort]);
  });

  it('carries a WebSocket over TLS', async () => {
    await using chat = await startUpstream({});
    await using rig: Rig = await startRig();
    await rig.publish(snapshotOf({ 'chat.example': { '/': chat.port } }));
    const socket = new WebSocket(`wss://127.0.0.1:${rig.front.httpsPort}/`, {
      headers: { Host: 'chat.example' },
      rejectUnauthorized: false,
    });
    const client = new Peer(socket);
    await once(socket, 'open');
    const { peer } = await chat.connected;
    socket.send('grüße');
    expect(await peer.take(1)).toEqual(['grüße']);
    peer.socket.send(new Uint8Array([1, 2, 3]));
    expect(await client.take(1)).toEqual([Buffer.from([1, 2, 3])]);
    socket.close(1000);
    await once(socket, 'close');
  });
});

it('the default certificate is one for everybody, without a folder one for each run', async () => {
  const [front, other] = [await start(), await start()];
  for (const it of [front, other]) it.present(tlsState({}));
  const fingerprint = await shownTo(front.httpsPort, 'a.example');
  expect(await shownTo(front.httpsPort, 'b.example')).toBe(fingerprint);
  expect(await shownTo(other.httpsPort, 'a.example')).not.toBe(fingerprint);
});
