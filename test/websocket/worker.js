// The worker behind the tests of the bridge. JavaScript, as the types of workerd and those of Node exclude each
// other in one program, and tests are checked with Node's.
import { connect } from 'cloudflare:sockets';
import { socketDialer } from '../../worker/dial/socket.ts';
import { exchange } from '../../worker/http1/exchange.ts';
import { isReservedHeader } from '../../worker/http1/header-names.ts';
import { bridge } from '../../worker/websocket/bridge.ts';
import { offerHandshake, verifyHandshake } from '../../worker/websocket/handshake.ts';

const dialer = socketDialer(connect, 'local');

/** Bridges a WebSocket to the port on 127.0.0.1 that the query names, and reports how it ended. */
export default {
  async fetch(request, env, ctx) {
    const { searchParams } = new URL(request.url);
    const handshake = offerHandshake(
      [...request.headers].filter(([name]) => !isReservedHeader(name)),
    );
    const { headers, upgraded } = await ask(Number(searchParams.get('port')), handshake);
    let forClient;
    try {
      forClient = new Headers(await verifyHandshake(handshake, headers));
    } catch (error) {
      await upgraded.close();
      return new Response(error.message, { status: 502 });
    }
    const [webSocket, client] = Object.values(new WebSocketPair());
    const closeTimeoutMs = Number(searchParams.get('closeTimeoutMs'));
    const ended = bridge({ upgraded, client, closeTimeoutMs }).then((ending) =>
      env.REPORT.fetch(`http://report/${searchParams.get('id')}`, {
        method: 'POST',
        body: JSON.stringify(ending),
      }),
    );
    ctx.waitUntil(ended);
    return new Response(null, { status: 101, headers: forClient, webSocket });
  },
};

async function ask(port, { headers }) {
  const message = {
    method: 'GET',
    target: '/',
    host: 'upstream.test',
    headers,
    body: null,
    contentLength: null,
    upgrade: 'websocket',
  };
  const connection = await dialer.dial({ host: '127.0.0.1', port }, 3000);
  return exchange(connection, message, { responseTimeoutMs: 3000 });
}
