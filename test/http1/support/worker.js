import { connect } from 'cloudflare:sockets';
import { socketDialer } from '../../../worker/dial/socket.ts';
import { exchange } from '../../../worker/http1/exchange.ts';

/**
 * The gateway without its routing: sends every request to `?port=` of `?host=`. With `?cancel` it
 * throws the answer's body away and says so.
 */
export default {
  async fetch(request) {
    const url = new URL(request.url);
    const host = url.searchParams.get('host') ?? '127.0.0.1';
    const port = Number(url.searchParams.get('port'));
    const length = request.headers.get('content-length');
    try {
      const connection = await socketDialer(connect, 'local').dial({ host, port }, 2000);
      const message = {
        method: request.method,
        target: url.pathname,
        host: 'app.example.com',
        headers: [],
        body: request.body,
        contentLength: length === null ? null : Number(length),
        upgrade: null,
      };
      const answer = await exchange(connection, message, {
        responseTimeoutMs: Number(url.searchParams.get('timeout') ?? 20_000),
      });
      if (url.searchParams.has('cancel')) {
        await answer.body?.cancel();
        return new Response('cancelled');
      }
      const headers = answer.headers.filter(([name]) => /^(x-|content-length)/i.test(name));
      return new Response(answer.body, { status: answer.status, headers });
    } catch (error) {
      const { name, kind, requestSent, message } = error;
      return Response.json({ name, kind, requestSent, message }, { status: 502 });
    }
  },
};
