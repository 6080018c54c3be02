import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Front } from '../../local/front.ts';
import { startFront } from '../support/front.ts';
import { readHead, readRequest } from '../support/message.ts';
import { handshake } from '../support/tls-client.ts';
import { type Script, Upstream } from '../support/upstream.ts';
import { Wire } from '../support/wire.ts';
import { frame, RST_STREAM, request } from './support/http2-frames.ts';

// What the front makes of HTTP/2 with something in the worker's place that does what no worker does.

let front: Front;
let worker: Upstream;
let script: Script;
let session: ClientHttp2Session;

beforeEach(async () => {
  worker = await Upstream.start((...args) => script(...args));
  front = await startFront();
  front.serve({ host: '127.0.0.1', port: worker.port });
  session = connect(`https://127.0.0.1:${front.httpsPort}`, { rejectUnauthorized: false });
});

afterEach(async () => {
  session.destroy();
  await front.close();
  await worker[Symbol.asyncDispose]();
});

const ask = (method = 'GET', endStream = true) =>
  session.request({ ':method': method, ':path': '/', ':authority': 'a.example' }, { endStream });

describe('a stream of HTTP/2', () => {
  it.each([constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL])(
    'that the client resets with code %i sends no end of its body',
    async (code) => {
      const ended = Promise.withResolvers<string>();
      script = async (wire, _, upstream) => {
        upstream.note(await readHead(wire));
        ended.resolve((await wire.rest()).toString());
      };
      const socket = await handshake(front.httpsPort, '', { ALPNProtocols: ['h2'] });
      const wire = new Wire(socket);
      wire.write(request({ ':method': 'POST', ':path': '/', ':authority': 'a.example' }));
      wire.write(frame(0, 0, 1, Buffer.from('hello')));
      await worker.received(0);
      const error = Buffer.alloc(4);
      error.writeUInt32BE(code);
      wire.write(frame(RST_STREAM, 0, 1, error));
      expect(await ended.promise).not.toMatch(/\r\n0\r\n/);
      wire.destroy();
    },
  );

  it('that was answered before it was sent to its end is not waited for', async () => {
    script = async (wire) => {
      await readHead(wire);
      wire.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    };
    const stream = ask('POST', false);
    stream.write('the beginning');
    const closed = once(stream, 'close');
    const [headers] = await once(stream, 'response');
    expect(headers[':status']).toBe(403);
    stream.resume();
    await closed;
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
  });

  it('brings headers that should be there once as often as they are', async () => {
    script = async (wire) => {
      await readRequest(wire);
      wire.end('HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n');
    };
    const stream = ask();
    const [, , raw] = await once(stream, 'response');
    const locations = raw.filter((_: string, i: number) => raw[i - 1] === 'location');
    expect(locations).toEqual(['/a', '/b']);
    stream.resume();
  });

  it('goes on where an answer has headers of a connection of HTTP/1.1', async () => {
    script = async (wire) => {
      await readRequest(wire);
      const own = [
        'HTTP2-Settings: AAMAAABk',
        'TE: gzip',
        'Upgrade: h2c',
        'Trailer: x',
        'X-Own: y',
      ];
      wire.end(`HTTP/1.1 200 OK\r\n${own.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`);
    };
    const stream = ask();
    const [headers] = await once(stream, 'response');
    expect(Object.keys(headers)).toEqual([':status', 'x-own', 'content-length', 'date']);
    stream.resume();
  });

  it('is 502 when there is nobody to answer', async () => {
    script = (wire) => wire.reset();
    const stream = ask();
    const [headers] = await once(stream, 'response');
    expect(headers[':status']).toBe(502);
    stream.resume();
  });
});
