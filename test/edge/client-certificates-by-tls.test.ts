import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls, type SecureContextOptions } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Issued, newAuthority } from '../support/certificates.ts';
import { readResponse, valueIn } from '../support/message.ts';
import { headText, type Rig, startRig } from '../support/rig.ts';
import { snapshotOf, withSettings } from '../support/snapshots.ts';
import { answering, ok, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

interface Asking {
  readonly host?: string;
  readonly serverName?: string;
  readonly issued?: Issued;
}

/** The front and the worker together, as clients of both versions of HTTP meet them. */
describe('a client certificate, from the handshake to the upstream', () => {
  let rig: Rig;
  let upstream: Upstream;
  let client: Issued;
  let stranger: Issued;

  beforeAll(async () => {
    const root = await newAuthority('Root');
    const middle = await root.intermediate('Middle');
    client = await middle.issue({ names: [], commonName: 'alice', client: true });
    stranger = await (await newAuthority('Root')).issue({ names: [], commonName: 'alice' });
    upstream = await Upstream.start(answering(ok('served')));
    rig = await startRig();
    const paths = { '/': upstream.port };
    const authorities = [root.pem];
    const snapshot = withSettings(
      snapshotOf({ 'on.example': paths, 'open.example': paths, 'other.example': paths }),
      {
        'on.example': { clientCertificates: { verify: 'on', authorities, depthMax: 1 } },
        'other.example': { owner: 'another' },
      },
    );
    await rig.publish(snapshot);
    rig.front.present({ certificates: new Map(), virtualHosts: snapshot.virtualHosts });
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  function tlsOptions({ host = 'on.example', serverName = host, issued }: Asking) {
    const shown: SecureContextOptions = issued
      ? { cert: issued.certificate, key: issued.privateKey }
      : {};
    const { httpsPort: port } = rig.front;
    return {
      port,
      host: '127.0.0.1',
      servername: serverName,
      rejectUnauthorized: false,
      ...shown,
    };
  }

  async function byHttp1(asking: Asking): Promise<number> {
    const socket = connectTls({ ...tlsOptions(asking), ALPNProtocols: ['http/1.1'] });
    await once(socket, 'secureConnect');
    const wire = new Wire(socket);
    wire.write(headText({ host: asking.host ?? 'on.example' }));
    const { status } = await readResponse(wire);
    wire.destroy();
    return status;
  }

  async function byHttp2(asking: Asking): Promise<number> {
    const { host = 'on.example' } = asking;
    const session = connectHttp2(`https://${host}`, tlsOptions(asking));
    const stream = session.request({ ':authority': host, ':path': '/' });
    const [headers] = await once(stream, 'response');
    session.destroy();
    return headers[':status'];
  }

  describe.each([
    ['HTTP/1.1', byHttp1],
    ['HTTP/2', byHttp2],
  ])('over %s', (_, ask) => {
    it('lets its owner in, and the upstream hears who it is', async () => {
      expect(await ask({ issued: client })).toBe(200);
      expect(valueIn(upstream.request, 'ssl-client-verify')).toBe('SUCCESS');
      expect(valueIn(upstream.request, 'ssl-client-subject-dn')).toBe('CN=alice');
      expect(valueIn(upstream.request, 'ssl-client-issuer-dn')).toBe('CN=Middle');
    });

    it('is wanted of everybody, and of the right authority', async () => {
      expect(await ask({})).toBe(403);
      expect(await ask({ issued: stranger })).toBe(403);
      expect(upstream.dials).toBe(0);
    });

    it('is not to be had on the connection of another host', async () => {
      expect(await ask({ issued: client, serverName: 'open.example' })).toBe(421);
      expect(await ask({ host: 'open.example', serverName: 'other.example' })).toBe(421);
      expect(await ask({ host: 'open.example', serverName: 'on.example' })).toBe(200);
    });
  });
});
