import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readHead, readRequest, readResponse, valueIn } from '../support/message.ts';
import { headText, type Rig, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';

const MIB = 1024 * 1024;
/** More than all buffers between two ends hold, sockets' own included. */
const MORE_THAN_BUFFERS = 256 * MIB;

describe('a body on its way', () => {
  let rig: Rig;

  beforeAll(async () => {
    rig = await startRig();
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
  });

  async function publish(other: Upstream): Promise<void> {
    await rig.publish(snapshotOf({ 'b.example': { '/': other.port } }));
  }

  it('streams: each side hears the other while it is still speaking', async () => {
    await using echo = await Upstream.start(async (wire) => {
      await readHead(wire);
      wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      for (;;) {
        const size = await wire.line();
        const chunk = await wire.bytes(Number.parseInt(size, 16));
        await wire.line();
        wire.write(`${size}\r\n${chunk.toString('latin1')}\r\n`);
        if (size === '0') return wire.end();
      }
    });
    await publish(echo);
    const client = await Wire.dial(rig.front.port);
    client.write(
      headText({ method: 'POST', host: 'b.example', headers: ['Transfer-Encoding: chunked'] }),
    );
    expect((await readHead(client)).startLine).toBe('HTTP/1.1 200 OK');
    for (const word of ['one', 'two', 'three']) {
      client.write(`${word.length}\r\n${word}\r\n`);
      expect(await client.line()).toBe(String(word.length));
      expect(await client.line()).toBe(word);
    }
    client.write('0\r\n\r\n');
    expect(await client.line()).toBe('0');
    client.destroy();
  });

  it.each(['Connection: close', 'X-No: 1'])(
    'is not read ahead of a client that does not take it (%s)',
    async (line) => {
      await using source = await Upstream.start(async (wire) => {
        await readHead(wire);
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${MORE_THAN_BUFFERS}\r\n${line}\r\n\r\n`);
        await writeUntilFull(wire);
      });
      await publish(source);
      const client = await Wire.dial(rig.front.port);
      client.socket.pause();
      client.write(headText({ host: 'b.example' }));
      expect(await bytesTaken(await source.wire(0))).toBeLessThan(MORE_THAN_BUFFERS / 2);
      client.destroy();
    },
  );

  it('is not taken from a client ahead of the upstream', async () => {
    await using sink = await Upstream.start(async (wire, _, upstream) => {
      upstream.note(await readHead(wire));
      wire.socket.pause();
    });
    await publish(sink);
    const client = await Wire.dial(rig.front.port);
    const length = [`Content-Length: ${MORE_THAN_BUFFERS}`];
    client.write(headText({ method: 'PUT', host: 'b.example', headers: length }));
    await sink.received(0);
    void writeUntilFull(client);
    expect(await bytesTaken(client)).toBeLessThan(MORE_THAN_BUFFERS / 2);
    client.destroy();
  });

  it('may be answered before it has come', async () => {
    await using hasty = await Upstream.start(async (wire) => {
      await readHead(wire);
      wire.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big');
    });
    await publish(hasty);
    for (const headers of [['Content-Length: 1000000'], ['Transfer-Encoding: chunked']]) {
      const client = await Wire.dial(rig.front.port);
      client.write(headText({ method: 'POST', host: 'b.example', headers }));
      client.write('3e8\r\n');
      const answer = await readResponse(client);
      expect([answer.status, String(answer.body)]).toEqual([413, 'too big']);
      client.destroy();
    }
  });

  it('may be answered while it still comes, and much of it', async () => {
    await using hasty = await Upstream.start(async (wire) => {
      await readHead(wire);
      wire.end(
        'HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big',
      );
    });
    await publish(hasty);
    const client = await Wire.dial(rig.front.port);
    client.write(
      headText({
        method: 'POST',
        host: 'b.example',
        headers: ['Content-Length: 20000000'],
      }),
    );
    client.write(randomBytes(5 * MIB));
    const answer = await readResponse(client);
    expect([answer.status, String(answer.body)]).toEqual([413, 'too big']);
    client.destroy();
  });

  it('that is answered in parts is passed on in these parts', async () => {
    const steps = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
    await using drip = await Upstream.start(async (wire) => {
      await readRequest(wire);
      wire.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Bytes: \xc3\xa9\r\n\r\n');
      for (const [index, step] of steps.entries()) {
        await step.promise;
        wire.write(`data: ${index}\n\n`);
      }
      wire.end();
    });
    await publish(drip);
    const client = await Wire.dial(rig.front.port);
    client.write(headText({ host: 'b.example' }));
    const head = await readHead(client);
    expect(valueIn(head, 'content-type')).toBe('text/event-stream');
    expect(valueIn(head, 'x-bytes')).toBe('\xc3\xa9');
    for (const [index, step] of steps.entries()) {
      step.resolve();
      expect(await client.line()).toBe('9');
      expect(await client.bytes(11)).toEqual(Buffer.from(`data: ${index}\n\n\r\n`));
    }
    expect(await client.line()).toBe('0');
    client.destroy();
  });
});

/** Writes as long as the socket takes more. */
async function writeUntilFull({ socket }: Wire): Promise<void> {
  const chunk = Buffer.alloc(MIB);
  for (let sent = 0; sent < MORE_THAN_BUFFERS && !socket.destroyed; sent += chunk.length) {
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve));
  }
}

const POLL_MS = 25;
const POLLS_WITHOUT_PROGRESS = 20;

/** How much a socket could write before it came to a standstill. Too short a wait hides nothing but a fault. */
async function bytesTaken({ socket }: Wire): Promise<number> {
  let taken = -1;
  for (let polls = 0; polls < POLLS_WITHOUT_PROGRESS; polls++) {
    if (socket.bytesWritten !== taken) polls = 0;
    taken = socket.bytesWritten;
    await setTimeout(POLL_MS);
  }
  return taken;
}
