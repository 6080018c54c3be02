// The worker of bridge.test.ts. JavaScript, as the types of workerd and those of Node exclude each
// other in one program, and tests are checked with Node's.
import { connect } from 'cloudflare:sockets';
import { socketDialer } from '../../worker/dial/socket.ts';
import { bridge } from '../../worker/websocket/bridge.ts';
import { offerHandshake, verifyHandshake } from '../../worker/websocket/handshake.ts';

const MAX_HEAD = 16384;
const dialer = socketDialer(connect, 'local');

/** Bridges a WebSocket to the port on 127.0.0.1 that the query names, and reports how it ended. */
export default {
  async fetch(request, env, ctx) {
    const { searchParams } = new URL(request.url);
    const handshake = offerHandshake([...request.headers]);
    const { answer, upgraded } = await exchange(Number(searchParams.get('port')), handshake);
    let headers;
    try {
      headers = new Headers(await verifyHandshake(handshake, answer));
    } catch (error) {
      await upgraded.close();
      return new Response(error.message, { status: 502 });
    }
    const [webSocket, client] = Object.values(new WebSocketPair());
    const closeTimeoutMs = Number(searchParams.get('closeTimeoutMs') ?? 10_000);
    const ended = bridge({ upgraded, client, closeTimeoutMs }).then((ending) =>
      env.REPORT.fetch(`http://report/${searchParams.get('id')}`, {
        method: 'POST',
        body: JSON.stringify(ending),
      }),
    );
    ctx.waitUntil(ended);
    return new Response(null, { status: 101, headers, webSocket });
  },
};

async function exchange(port, { headers }) {
  const connection = await dialer.dial({ host: '127.0.0.1', port }, 3000);
  const writer = connection.writable.getWriter();
  const lines = headers
    .filter(([name]) => !['connection', 'upgrade', 'host'].includes(name))
    .map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `GET / HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n${lines.join('')}\r\n`;
  await writer.write(new TextEncoder().encode(head));
  writer.releaseLock();
  const reader = connection.readable.getReader();
  let bytes = new Uint8Array(0);
  for (;;) {
    const text = String.fromCharCode(...bytes.subarray(0, MAX_HEAD));
    const end = text.indexOf('\r\n\r\n');
    if (end >= 0) {
      reader.releaseLock();
      const answer = text
        .slice(0, end)
        .split('\r\n')
        .slice(1)
        .map((line) => line.split(/: ?/, 2));
      const leftover = bytes.subarray(end + 4);
      return { answer, upgraded: { ...connection, leftover } };
    }
    const { done, value } = await reader.read();
    if (done) throw new Error('no answer');
    const both = new Uint8Array(bytes.length + value.length);
    both.set(bytes);
    both.set(value, bytes.length);
    bytes = both;
  }
}
