import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type ClientMessage,
  namesOf,
  readHead,
  readRequest,
  readResponse,
  valueIn,
} from '../support/message.ts';
import { headText, type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { ok, type Script, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

const RESPONSE_TIMEOUT_MS = 1_000;
/** The headers of an answer of ours through the front. */
const NAMES = [
  'cache-control',
  'connection',
  'content-length',
  'content-type',
  'date',
  'x-content-type-options',
  'x-request-id',
];

describe('an upstream that fails', () => {
  let rig: Rig;
  let upstream: Upstream;
  let script: Script = () => {};

  beforeAll(async () => {
    upstream = await Upstream.start((...args) => script(...args));
    rig = await startRig({ responseTimeoutMs: RESPONSE_TIMEOUT_MS });
    await rig.publish(snapshotOf({ 'a.example': { '/': upstream.port } }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  beforeEach(() => upstream.clear());

  /** What the client gets when the upstream reads a head and then does this. */
  function answeredBy(act: (wire: Wire) => void, request: RawRequest = {}): Promise<ClientMessage> {
    script = async (wire) => {
      await readHead(wire);
      act(wire);
    };
    return send(rig.front.port, request);
  }

  /** The cause that the log gives for this answer of ours, of which the client must see nothing. */
  async function causeOf(response: ClientMessage): Promise<string> {
    const id = valueIn(response, 'x-request-id') ?? 'no id';
    const [, , ...phrase] = response.startLine.split(' ');
    expect(namesOf(response)).toEqual(NAMES);
    expect(String(response.body)).toBe(
      `${response.status} ${phrase.join(' ')}\nrequest id: ${id}\n`,
    );
    const { reason, cause } = JSON.parse(await rig.log.line(id));
    return `${reason}: ${cause}`;
  }

  it.each([
    ['resets the connection', (wire: Wire) => wire.reset()],
    ['closes it', (wire: Wire) => wire.end()],
  ])('and %s before an answer is 502, asked twice', async (_, act) => {
    const response = await answeredBy(act);
    expect(response.status).toBe(502);
    expect(await causeOf(response)).toMatch(/^UpstreamFailed: UnansweredError: /);
    expect(upstream.dials).toBe(2);
  });

  it.each([
    ['closes it within the status line', (wire: Wire) => wire.end('HTTP/1.1 2')],
    ['closes it within the headers', (wire: Wire) => wire.end('HTTP/1.1 200 OK\r\nX-A: 1\r\n')],
    [
      'resets it within the headers',
      (wire: Wire) => {
        wire.write('HTTP/1.1 200 OK\r\nX-A: 1\r\n');
        wire.reset();
      },
    ],
    ['closes it after a 100', (wire: Wire) => wire.end('HTTP/1.1 100 Continue\r\n\r\n')],
  ])('and %s is 502, asked once', async (_, act) => {
    const response = await answeredBy(act);
    expect(response.status).toBe(502);
    expect(await causeOf(response)).toMatch(/^UpstreamFailed: UpstreamError: /);
    expect(upstream.dials).toBe(1);
  });

  it('is asked once by POST too', async () => {
    const post = { method: 'POST', headers: ['Content-Length: 2'], body: 'hi' };
    expect((await answeredBy((wire) => wire.reset(), post)).status).toBe(502);
    expect(upstream.dials).toBe(1);
  });

  it.each([
    ['is not HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['is HTTP/2', 'HTTP/2 200 OK\r\n\r\n'],
    ['has no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['has a status of two digits', 'HTTP/1.1 99 X\r\n\r\n'],
    ['has a status of 600', 'HTTP/1.1 600 X\r\n\r\n'],
    ['ends lines with a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nhi'],
    ['has two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!'],
    [
      'has the same length twice',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi',
    ],
    ['has a length of two', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi'],
    ['has a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi'],
    ['has a length in hexadecimal', 'HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi'],
    [
      'has a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'has an unknown coding',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    ],
    ['has chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['has a blank before a colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi'],
    ['has a folded header', 'HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nhi'],
    ['has a header without a name', 'HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 2\r\n\r\nhi'],
    ['has a NUL in a header', 'HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 2\r\n\r\nhi'],
    ['has a CR in a header', 'HTTP/1.1 200 OK\r\nX-A: 1\r2\r\nContent-Length: 2\r\n\r\nhi'],
    ['has a header that never ends', `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(200_000)}`],
    ['has headers without number', `HTTP/1.1 200 OK\r\n${'X-A: 1\r\n'.repeat(2_000)}\r\n`],
    [
      'switches protocols unasked',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
    ],
    ['has interim answers without end', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000)],
  ])('with an answer that %s is 502', async (_, bytes) => {
    const response = await answeredBy((wire) => wire.end(bytes));
    expect(response.status).toBe(502);
    expect(await causeOf(response)).toMatch(/^UpstreamFailed: (UpstreamError|ProtocolError): /);
  });

  it('and never answers is 504, with the connection closed', async () => {
    const response = await answeredBy(() => {});
    expect(response.status).toBe(504);
    expect(await causeOf(response)).toMatch(/^UpstreamTimeout: /);
    expect(await (await upstream.wire(0)).ended()).toBe(true);
  });

  it('and never ends its head is 504', async () => {
    const response = await answeredBy((wire) => wire.write('HTTP/1.1 200 OK\r\nX-A: 1\r\n'));
    expect(response.status).toBe(504);
  });

  it('and takes its time within the body is not cut off', async () => {
    const { promise: go, resolve: goOn } = Promise.withResolvers<void>();
    script = async (wire) => {
      await readHead(wire);
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab');
      await go;
      wire.end('cd');
    };
    const client = await Wire.dial(rig.front.port);
    client.write(headText({}));
    await readHead(client);
    expect(String(await client.bytes(2))).toBe('ab');
    await setTimeout(RESPONSE_TIMEOUT_MS * 1.5);
    goOn();
    expect(String(await client.bytes(2))).toBe('cd');
    client.destroy();
  });

  it('is not blamed for a client that is slow with its body', async () => {
    script = async (wire) => {
      await readRequest(wire);
      wire.end(ok('patient'));
    };
    const client = await Wire.dial(rig.front.port);
    client.write(headText({ method: 'POST', headers: ['Content-Length: 4'] }));
    client.write('ab');
    await setTimeout(RESPONSE_TIMEOUT_MS * 1.5);
    client.write('cd');
    expect(String((await readResponse(client)).body)).toBe('patient');
    client.destroy();
  });

  it.each([
    [
      'closes early by its length',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf',
      (wire: Wire) => wire.end(),
    ],
    [
      'resets a body of known length',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf',
      (wire: Wire) => wire.reset(),
    ],
    [
      'closes early by its chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
      (wire: Wire) => wire.end(),
    ],
    [
      'resets a chunked body',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
      (wire: Wire) => wire.reset(),
    ],
    [
      'has a wrong chunk',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
      (wire: Wire) => wire.end('xyz\r\n'),
    ],
    [
      'resets a body that only the end of the connection would end',
      'HTTP/1.1 200 OK\r\n\r\nhalf',
      (wire: Wire) => wire.reset(),
    ],
  ])('and %s breaks the transfer, and the log says why', async (_, begin, act) => {
    const { promise: go, resolve: goOn } = Promise.withResolvers<void>();
    script = async (wire) => {
      await readHead(wire);
      wire.write(begin);
      await go;
      act(wire);
    };
    const client = await Wire.dial(rig.front.port);
    client.write(headText({ headers: ['Connection: keep-alive'] }));
    const head = await readHead(client);
    expect(head.startLine).toBe('HTTP/1.1 200 OK');
    goOn();
    const rest = String(await client.rest());
    expect(rest).toContain('half');
    expect(rest).not.toContain('0\r\n\r\n');
    client.destroy();
    const line = JSON.parse(await rig.log.line(valueIn(head, 'x-request-id') ?? 'no id'));
    expect(line).toMatchObject({
      level: 'error',
      host: 'a.example',
      path: '/',
      reason: 'UpstreamFailed',
    });
    expect(line.cause).toMatch(/^UpstreamError: /);
  });

  it('may serve the next request', async () => {
    expect((await answeredBy((wire) => wire.reset())).status).toBe(502);
    expect((await answeredBy((wire) => wire.end(ok('well again')))).status).toBe(200);
  });
});
