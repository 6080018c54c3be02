import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readResponse, valuesOf } from '../support/message.ts';
import { headText, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { answering, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

const MIB = 1024 * 1024;

describe('the body', () => {
  let rig: Rig;
  let mirror: Upstream;

  beforeAll(async () => {
    mirror = await Upstream.start(
      answering(({ body }) =>
        Buffer.concat([
          Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`),
          body,
        ]),
      ),
    );
    rig = await startRig();
    await rig.publish(snapshotOf({ 'a.example': { '/': mirror.port } }));
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await mirror?.[Symbol.asyncDispose]();
  });

  beforeEach(() => mirror.clear());

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS', 'PROPFIND'])(
    'of a %s of known length arrives with this length',
    async (method) => {
      const response = await send(rig.front.port, {
        method,
        headers: ['Content-Length: 3'],
        body: 'abc',
      });
      expect(valuesOf(mirror.request, 'content-length')).toEqual(['3']);
      expect(valuesOf(mirror.request, 'transfer-encoding')).toEqual([]);
      expect([mirror.request.method, String(mirror.request.body)]).toEqual([method, 'abc']);
      expect(String(response.body)).toBe('abc');
    },
  );

  it.each(['POST', 'PUT', 'PATCH'])('of an empty %s is empty and says so', async (method) => {
    for (const headers of [['Content-Length: 0'], []]) {
      mirror.clear();
      await send(rig.front.port, { method, headers });
      expect(valuesOf(mirror.request, 'content-length')).toEqual(['0']);
      expect(valuesOf(mirror.request, 'transfer-encoding')).toEqual([]);
    }
  });

  it.each(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'])(
    'of a plain %s is none',
    async (method) => {
      await send(rig.front.port, { method });
      expect(mirror.request.method).toBe(method);
      expect(mirror.request.framing).toBe('none');
    },
  );

  it.each(['PROPFIND', 'REPORT', 'MKCOL', 'LOCK', 'PURGE', 'QUERY', 'SEARCH'])(
    'of an unusual %s passes with its method',
    async (method) => {
      const { status } = await send(rig.front.port, {
        method,
        headers: ['Content-Length: 2'],
        body: 'xy',
      });
      expect([status, mirror.request.method, String(mirror.request.body)]).toEqual([
        200,
        method,
        'xy',
      ]);
    },
  );

  it('of chunks arrives in chunks, without their extensions and trailers', async () => {
    const response = await send(rig.front.port, {
      method: 'POST',
      headers: ['Transfer-Encoding: chunked', 'Trailer: X-End'],
      body: '3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-End: 1\r\n\r\n',
    });
    expect(valuesOf(mirror.request, 'content-length')).toEqual([]);
    expect(valuesOf(mirror.request, 'x-end')).toEqual([]);
    expect([mirror.request.framing, String(response.body)]).toEqual(['chunked', 'abcde']);
  });

  it.each([
    ['a length', (body: Buffer) => [`Content-Length: ${body.length}`] as const],
    ['chunks', () => ['Transfer-Encoding: chunked'] as const],
  ])('of 10 MiB by %s arrives whole, both ways', async (_, headersFor) => {
    const body = randomBytes(10 * MIB);
    const headers = headersFor(body);
    const framed = headers[0].startsWith('Transfer') ? chunked(body, 100_000) : body;
    const response = await send(rig.front.port, { method: 'POST', headers, body: framed });
    expect(digest(mirror.request.body)).toBe(digest(body));
    expect(digest(response.body)).toBe(digest(body));
  });

  it('comes after a 100 for a client that waits for one', async () => {
    const client = await Wire.dial(rig.front.port);
    client.write(
      headText({ method: 'POST', headers: ['Expect: 100-continue', 'Content-Length: 3'] }),
    );
    expect(await client.line()).toBe('HTTP/1.1 100 Continue');
    expect(await client.line()).toBe('');
    client.write('abc');
    expect(String((await readResponse(client)).body)).toBe('abc');
    expect(valuesOf(mirror.request, 'expect')).toEqual([]);
    client.destroy();
  });

  it('of a megabyte comes from curl, which waits for a 100', async () => {
    const body = 'x'.repeat(MIB);
    const args = [
      '-sS',
      '--max-time',
      '20',
      '-H',
      'Host: a.example',
      '-H',
      'Expect: 100-continue',
      '--data-binary',
      '@-',
      '-w',
      '%{http_code}',
    ];
    const curl = promisify(execFile)('curl', [...args, `http://127.0.0.1:${rig.front.port}/`], {
      maxBuffer: 2 * MIB,
    });
    curl.child.stdin?.end(body);
    expect((await curl).stdout).toBe(`${body}200`);
  });
});

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function chunked(body: Buffer, size: number): Buffer {
  const parts: Buffer[] = [];
  for (let from = 0; from < body.length; from += size) {
    const chunk = body.subarray(from, from + size);
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}
