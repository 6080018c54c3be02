import { connect } from 'cloudflare:sockets';
import { socketDialer } from '../../worker/dial/socket.ts';
import { exchange } from '../../worker/http1/exchange.ts';

const dialer = socketDialer(connect, 'local');

/** The socket code of the gateway and nothing else: no matching, no policy, no headers of ours. */
export default {
  async fetch(request: Request, env: { readonly PORT: string }): Promise<Response> {
    const { pathname, host } = new URL(request.url);
    const connection = await dialer.dial({ host: '127.0.0.1', port: Number(env.PORT) }, 3000);
    const upstream = await exchange(
      connection,
      {
        method: request.method,
        target: pathname,
        host,
        headers: [],
        body: request.body,
        contentLength: null,
        upgrade: null,
      },
      { responseTimeoutMs: 60_000 },
    );
    const headers = new Headers(
      upstream.headers
        .filter(([name]) => name !== 'connection')
        .map(([name, value]) => [name, value]),
    );
    return new Response(upstream.body, { status: upstream.status, headers });
  },
};
