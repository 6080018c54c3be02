import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readHead, readRequest } from '../support/message.ts';
import { type Rig, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { command, handshake } from '../support/tls-client.ts';
import { answering, ok, type Script, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';
import { frame, RST_STREAM, request as requestFrame } from './support/http2-frames.ts';
import { type Probe, startProbe, type Told } from './support/probe.ts';

interface Answer {
  readonly headers: IncomingHttpHeaders & { readonly ':status'?: number };
  readonly body: Buffer;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const [headers] = (await once(stream, 'response')) as [Answer['headers']];
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { headers, body: Buffer.concat(chunks) };
}

function open(port: number): ClientHttp2Session {
  return connect(`https://127.0.0.1:${port}`, {
    servername: 'a.example',
    rejectUnauthorized: false,
  });
}

const A = { ':authority': 'a.example' };

describe('a request of HTTP/2, as the worker gets it', () => {
  let probe: Probe;
  let session: ClientHttp2Session;

  beforeAll(async () => {
    probe = await startProbe();
    session = open(probe.front.httpsPort);
  });

  afterAll(async () => {
    session?.destroy();
    await probe?.[Symbol.asyncDispose]();
  });

  async function told(
    headers: OutgoingHttpHeaders,
    ...body: readonly (string | Buffer)[]
  ): Promise<Told> {
    const stream = session.request({ ...A, ...headers }, { endStream: body.length === 0 });
    for (const part of body) stream.write(part);
    if (body.length > 0) stream.end();
    return JSON.parse((await answerOf(stream)).body.toString());
  }

  it('has URL, method and headers as those of HTTP/1.1', async () => {
    const { url, method, headers, cf } = await told({
      ':path': '/x%2Fy?z=%7B',
      ':method': 'DELETE',
      'x-one': ['1', '2'],
      'x-latin': 'gr\xfc\xdfe',
      cookie: ['a=1', 'b=2'],
      te: 'trailers',
    });
    expect([method, url]).toEqual(['DELETE', 'https://a.example/x%2Fy?z=%7B']);
    expect(headers).toMatchObject({ host: 'a.example', 'x-one': '1, 2', cookie: 'a=1; b=2' });
    expect(Object.keys(headers).filter((it) => it.startsWith(':'))).toEqual([]);
    expect(cf).toMatchObject({ httpProtocol: 'HTTP/2', tlsServerName: 'a.example' });
  });

  it.each(['POST', 'GET'])('of %s has a body of its own length, or of none', async (method) => {
    const asked = { ':method': method, ':path': '/' };
    const whole = await told({ ...asked, 'content-length': '5' }, 'hello');
    expect(whole.headers).toMatchObject({ 'content-length': '5' });
    expect(whole.body.bytes).toBe(5);
    const pieces = await told(asked, 'hel', 'lo');
    expect(pieces.headers['content-length']).toBeUndefined();
    expect(pieces.body).toEqual(whole.body);
    expect((await told({ ...asked, 'content-length': '0' })).body.bytes).toBe(0);
    expect((await told(asked)).headers['transfer-encoding']).toBeUndefined();
  });

  it('arrives whole when it is long', async () => {
    const body = randomBytes(8 << 20);
    const { body: got } = await told({ ':method': 'PUT', ':path': '/' }, body);
    const sha256 = createHash('sha256').update(body).digest('hex');
    expect(got).toEqual({ bytes: body.length, sha256 });
  });

  it('may have many headers, and more than Node takes unasked', async () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`x-${i}`, String(i)]));
    expect((await told({ ':path': '/', ...many })).headers).toMatchObject(many);
  });

  it.each([
    ['of two hosts', { host: 'b.example' }],
    ['for a host that is none', { ':authority': 'a.example,b.example' }],
    ['for no path', { ':path': '*', ':method': 'OPTIONS' }],
  ])('%s is 400', async (_, headers) => {
    const stream = session.request({ ...A, ':path': '/', ...headers });
    expect((await answerOf(stream)).headers[':status']).toBe(400);
  });

  it('names the host once when it says it twice', async () => {
    const { headers } = await told({ ':path': '/', host: 'a.example' });
    expect(headers.host).toBe('a.example');
  });

  it('to be connected through is refused', async () => {
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'a.example:443' });
    const [headers] = await once(stream, 'response');
    expect(headers[':status']).toBe(405);
    stream.destroy();
  });

  it('of curl arrives as well', async () => {
    const url = `https://a.example:${probe.front.httpsPort}/up`;
    const to = ['--resolve', `a.example:${probe.front.httpsPort}:127.0.0.1`];
    const args = ['-sSk', '--http2', ...to, '--data-binary', '@-', url];
    const { stdout } = await command('curl', args, 'x'.repeat(1 << 20));
    const { body, cf }: Told = JSON.parse(stdout);
    expect([body.bytes, cf.httpProtocol]).toEqual([1 << 20, 'HTTP/2']);
  });
});

describe('an exchange over HTTP/2', () => {
  let rig: Rig;
  let upstream: Upstream;
  let script: Script;
  let session: ClientHttp2Session;

  beforeAll(async () => {
    upstream = await Upstream.start((...args) => script(...args));
    rig = await startRig();
    await rig.publish(snapshotOf({ 'a.example': { '/': upstream.port } }));
  });

  beforeEach(() => {
    upstream.clear();
    session = open(rig.front.httpsPort);
  });

  afterEach(() => session.destroy());

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  const ask = (headers: OutgoingHttpHeaders = {}, endStream = true) =>
    session.request({ ':path': '/', ...A, ...headers }, { endStream });

  it('shares a connection with many others', async () => {
    script = answering(({ target }) => ok(target));
    const asked = Array.from({ length: 100 }, (_, i) => answerOf(ask({ ':path': `/${i}` })));
    const bodies = (await Promise.all(asked)).map(({ body }) => body.toString());
    expect(bodies).toEqual(Array.from({ length: 100 }, (_, i) => `/${i}`));
  });

  it('brings a long answer whole, while others are under way', async () => {
    const long = randomBytes(8 << 20);
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${long.length}\r\n\r\n`;
    script = answering(Buffer.concat([Buffer.from(head), long]));
    const answers = await Promise.all([1, 2, 3].map(() => answerOf(ask())));
    for (const { body } of answers) expect(body.equals(long)).toBe(true);
  });

  it('has no headers of a connection of HTTP/1.1, and all the others', async () => {
    const ofConnection = ['Keep-Alive: timeout=5', 'Upgrade: h2c', 'Proxy-Connection: x'];
    script = answering(ok('x', ...ofConnection, 'Set-Cookie: a=1', 'Set-Cookie: b=2', 'X-Y: z'));
    const { headers } = await answerOf(ask());
    expect(headers).toMatchObject({ ':status': 200, 'set-cookie': ['a=1', 'b=2'], 'x-y': 'z' });
    for (const name of ['connection', 'keep-alive', 'upgrade', 'transfer-encoding']) {
      expect(headers).not.toHaveProperty(name);
    }
  });

  it.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 200],
    ['GET', 'HTTP/1.1 204 No Content\r\n\r\n', 204],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', 304],
    ['GET', 'HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n', 200],
  ])('of %s may have no body: %j', async (method, answer, status) => {
    script = answering(answer);
    const { headers, body } = await answerOf(ask({ ':method': method }));
    expect([headers[':status'], body.length]).toEqual([status, 0]);
  });

  it('brings the head before the body is there', async () => {
    const { promise: seen, resolve: go } = Promise.withResolvers<void>();
    script = async (wire) => {
      await readRequest(wire);
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n');
      await seen;
      wire.write('late');
    };
    const stream = ask();
    await once(stream, 'response');
    go();
    const [chunk] = await once(stream, 'data');
    expect(String(chunk)).toBe('late');
  });

  it('that the upstream breaks off is seen to be broken, and the connection goes on', async () => {
    script = async (wire) => {
      await readRequest(wire);
      wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    };
    const stream = ask();
    await once(stream, 'data');
    (await upstream.wire(0)).reset();
    const [error] = await once(stream, 'error');
    expect(error.message).toContain('INTERNAL_ERROR');
    expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    script = answering(ok('again'));
    expect((await answerOf(ask())).body.toString()).toBe('again');
  });

  it('that the client resets ends at the upstream, too', async () => {
    script = async (wire) => {
      await readRequest(wire);
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc');
    };
    const stream = ask();
    await once(stream, 'data');
    stream.close(constants.NGHTTP2_CANCEL);
    expect(await (await upstream.wire(0)).ended()).toBe(true);
  });

  it.each([constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL])(
    'of which the client resets the upload with code %i is no whole request',
    async (code) => {
      const ended = Promise.withResolvers<unknown>();
      script = async (wire) => {
        await readHead(wire);
        expect(await wire.line()).toBe('5');
        await wire.bytes(7);
        // The last chunk would have a size, 0.
        ended.resolve(await wire.line().catch((error: Error) => error.message));
      };
      const socket = await handshake(rig.front.httpsPort, 'a.example', { ALPNProtocols: ['h2'] });
      const wire = new Wire(socket);
      wire.write(requestFrame({ ':method': 'POST', ':path': '/', ':authority': 'a.example' }));
      wire.write(frame(0, 0, 1, Buffer.from('hello')));
      await upstream.wire(0);
      const error = Buffer.alloc(4);
      error.writeUInt32BE(code);
      wire.write(frame(RST_STREAM, 0, 1, error));
      expect(await ended.promise).toMatch(/ended before a line/);
      wire.destroy();
    },
  );

  it('that nobody wants is answered while it is sent', async () => {
    const stream = ask({ ':authority': 'nowhere.example', ':method': 'POST' }, false);
    stream.on('error', () => {});
    stream.end(randomBytes(5 << 20));
    expect((await answerOf(stream)).headers[':status']).toBe(404);
    script = answering(ok('next'));
    expect((await answerOf(ask())).body.toString()).toBe('next');
  });
});
