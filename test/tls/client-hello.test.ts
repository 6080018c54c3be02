import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { serverNameIn } from '../../local/tls/client-hello.ts';
import { opensslClient } from '../support/tls-client.ts';

// The server name in a client's first bytes, as real clients write them.

const RECORD_HEADER_BYTES = 5;

/** What a client says first. */
async function helloOf(ask: (port: number) => Promise<unknown>): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const asking = ask((server.address() as AddressInfo).port);
  const [socket] = (await once(server, 'connection')) as [Socket];
  let bytes = Buffer.alloc(0);
  while (bytes.length < RECORD_HEADER_BYTES || bytes.length < recordEnd(bytes)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    bytes = Buffer.concat([bytes, chunk]);
  }
  socket.destroy();
  server.close();
  await asking;
  return bytes;
}

const recordEnd = (bytes: Buffer) => RECORD_HEADER_BYTES + bytes.readUInt16BE(3);

function nodeHello(servername: string, options: ConnectionOptions = {}): Promise<Buffer> {
  return helloOf(async (port) => {
    const socket = connect({ port, host: '127.0.0.1', servername, ...options });
    await once(socket, 'error');
  });
}

/** The same message in records of these sizes. */
function inRecords(hello: Buffer, sizes: readonly number[]): Buffer {
  const message = hello.subarray(RECORD_HEADER_BYTES);
  const records: Buffer[] = [];
  for (let at = 0, i = 0; at < message.length; i++) {
    const size = Math.min(sizes[i % sizes.length] ?? 1, message.length - at);
    const header = Buffer.from([22, 3, 1, size >> 8, size & 0xff]);
    records.push(header, message.subarray(at, at + size));
    at += size;
  }
  return Buffer.concat(records);
}

describe('the server name', () => {
  let hellos: readonly { readonly name: string; readonly hello: Buffer }[];

  beforeAll(async () => {
    const long = `${'x'.repeat(63)}.${'y'.repeat(63)}.example`;
    hellos = await Promise.all(
      ['a.example', 'A.Example', long, 'a_b.example'].map(async (name) => ({
        name,
        hello: await nodeHello(name),
      })),
    );
  });

  it('is read from what Node, OpenSSL and their older versions of TLS send', async () => {
    for (const { name, hello } of hellos) expect(serverNameIn(hello)).toBe(name);
    const older = await nodeHello('a.example', { maxVersion: 'TLSv1.2' });
    expect(serverNameIn(older)).toBe('a.example');
    const alpn = await nodeHello('b.example', { ALPNProtocols: ['h2', 'http/1.1'] });
    expect(serverNameIn(alpn)).toBe('b.example');
    const other = await helloOf((port) => opensslClient(port, 'c.example', '-curves', 'P-256'));
    expect(serverNameIn(other)).toBe('c.example');
    expect(serverNameIn(await nodeHello(''))).toBe('');
  });

  it('is read however the message is cut into records, as soon as it is whole', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 3 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (index, sizes, share) => {
          const { name, hello } = hellos[index] ?? { name: '', hello: Buffer.alloc(0) };
          const bytes = inRecords(hello, sizes);
          expect(serverNameIn(bytes)).toBe(name);
          // What follows is not its business.
          expect(serverNameIn(Buffer.concat([bytes, bytes]))).toBe(name);
          expect(serverNameIn(bytes.subarray(0, Math.floor(bytes.length * share)))).toBe(null);
        },
      ),
    );
  });

  it('of bytes that are damaged is some text, and none of bytes that are something else', () => {
    const { hello } = hellos[0] ?? { hello: Buffer.alloc(0) };
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: hello.length - 1 }), fc.nat({ max: 255 }))),
        (changes) => {
          const bytes = Buffer.from(hello);
          for (const [at, value] of changes) bytes[at] = value;
          const name = serverNameIn(bytes);
          expect(name === null || name.length < hello.length).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
        fc.pre(bytes[0] !== 22);
        expect(serverNameIn(Buffer.from(bytes))).toBe('');
      }),
    );
  });

  it('is not waited for without end', () => {
    const endless = Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]);
    expect(serverNameIn(endless)).toBe('');
    const records = Buffer.alloc(70_000);
    for (let at = 0; at < records.length; at += 5)
      records.set([22, 3, 1, 0, 0].slice(0, records.length - at), at);
    expect(serverNameIn(records)).toBe('');
  });
});
