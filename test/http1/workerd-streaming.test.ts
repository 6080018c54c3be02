import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  answerOf,
  type Gateway,
  open,
  received,
  startGateway,
  startUpstream,
} from './support/gateway.ts';

/** Large bodies in the runtime that the codec is for: bounded memory, and every byte. */

const MIB = 1024 * 1024;
const SIZE = 64 * MIB;
/** More than what the kernel's buffers hold on two loopback connections, less than a body. */
const BUFFERED_MAX = 40 * MIB;

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway[Symbol.asyncDispose]());

/** Different in every block, so that a block lost, doubled or moved is seen. */
function* blocks(size = SIZE): Generator<Buffer> {
  for (let at = 0; at < size; at += 64 * 1024) {
    const block = Buffer.alloc(Math.min(64 * 1024, size - at), at >> 16);
    block.writeUInt32BE(at);
    yield block;
  }
}

function hashOf(chunks: Iterable<Buffer>): string {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

const SIZE_HASH = hashOf(blocks());

/** Writes as fast as it is taken, and counts. */
async function writeAll(
  stream: Socket | ClientRequest,
  encode: (block: Buffer) => readonly (Buffer | string)[],
  counter: { bytes: number },
): Promise<void> {
  for (const block of blocks()) {
    for (const part of encode(block)) {
      if (!stream.write(part)) await once(stream, 'drain');
    }
    counter.bytes += block.length;
  }
}

const plain = (block: Buffer) => [block];
const chunk = (block: Buffer) => [`${block.length.toString(16)}\r\n`, block, '\r\n'];

/** Whether nothing more moves, although it could. */
async function stalled(counter: { bytes: number }): Promise<number> {
  for (let last = -1; last !== counter.bytes; ) {
    last = counter.bytes;
    await setTimeout(150);
  }
  return counter.bytes;
}

describe('a large answer', () => {
  test.each([
    ['of a length, through the native pipe', `Connection: close\r\nContent-Length: ${SIZE}`, plain],
    ['of a length, through our own loop', `Content-Length: ${SIZE}`, plain],
    ['in chunks', 'Transfer-Encoding: chunked', chunk],
    ['up to the end of the connection', 'Connection: close', plain],
  ])('%s waits for its reader and arrives whole', async (_, headers, encode) => {
    const sent = { bytes: 0 };
    await using upstream = await startUpstream(async (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${headers}\r\n\r\n`);
      await writeAll(socket, encode, sent);
      socket.end(encode === chunk ? '0\r\n\r\n' : '');
    });
    const memoryBefore = gateway.memory();
    const answer = await answerOf(open(gateway, upstream).end());
    const length = headers.includes('Content-Length') ? String(SIZE) : undefined;
    expect(answer.headers['content-length']).toBe(length);
    expect(await stalled(sent)).toBeLessThan(BUFFERED_MAX);
    const hash = createHash('sha256');
    for await (const part of answer) hash.update(part);
    expect(hash.digest('hex')).toBe(SIZE_HASH);
    expect(gateway.memory() - memoryBefore).toBeLessThan(32 * MIB);
  });
});

describe('a large request', () => {
  test.each([
    ['of a length', { 'Content-Length': SIZE }, `Content-Length: ${SIZE}\r\n`],
    ['in chunks', { 'Transfer-Encoding': 'chunked' }, 'Transfer-Encoding: chunked\r\n'],
  ])('%s waits for its reader and arrives whole', async (_, headers, line) => {
    const sent = { bytes: 0 };
    const { promise: paused, resolve: pausedIs } = Promise.withResolvers<Socket>();
    const parts: Buffer[] = [];
    await using upstream = await startUpstream((socket, first) => {
      let bytes = first.length - first.indexOf('\r\n\r\n') - 4;
      parts.push(first);
      socket.pause();
      pausedIs(socket);
      socket.on('data', (part) => {
        parts.push(part);
        bytes += part.length;
        if (bytes < SIZE) return;
        const tail = Buffer.concat(parts.slice(-2)).subarray(-5).toString();
        if ('Content-Length' in headers || tail === '0\r\n\r\n') socket.end(OK);
      });
    });
    const memoryBefore = gateway.memory();
    const client = open(gateway, upstream, { method: 'POST', headers });
    const written = writeAll(client, plain, sent).then(() => client.end());
    const socket = await paused;
    expect(await stalled(sent)).toBeLessThan(BUFFERED_MAX);
    socket.resume();
    const answer = await answerOf(client);
    expect(await received(answer)).toEqual({ bytes: 2, isComplete: true });
    await written;
    const wire = Buffer.concat(parts);
    const headEnd = wire.indexOf('\r\n\r\n') + 4;
    expect(wire.toString('latin1', 0, headEnd)).toContain(line);
    const body = wire.subarray(headEnd);
    const content = 'Content-Length' in headers ? [body] : dechunk(body);
    expect(hashOf(content)).toBe(SIZE_HASH);
    expect(gateway.memory() - memoryBefore).toBeLessThan(32 * MIB);
  });

  test('and its answer stream at the same time', async () => {
    await using upstream = await startUpstream((socket, first) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
      socket.write(first.subarray(first.indexOf('\r\n\r\n') + 4));
      socket.pipe(socket);
    });
    const headers = { 'Content-Length': SIZE };
    const client = open(gateway, upstream, { method: 'POST', headers });
    const written = writeAll(client, plain, { bytes: 0 }).then(() => client.end());
    const hash = createHash('sha256');
    for await (const part of await answerOf(client)) hash.update(part);
    await written;
    expect(hash.digest('hex')).toBe(SIZE_HASH);
  });
});

function* dechunk(body: Buffer): Generator<Buffer> {
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at);
    const size = Number.parseInt(body.toString('latin1', at, lineEnd), 16);
    if (size === 0) return;
    yield body.subarray(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
  }
}
