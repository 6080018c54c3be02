import { connect } from 'cloudflare:sockets';
import type { Env } from './env.ts';
import { createGateway, type Gateway, handle } from './gateway.ts';

let gateway: Gateway | null = null;

export default {
  fetch(request, env, ctx) {
    gateway ??= createGateway(env, connect);
    return handle(gateway, request, ctx);
  },
} satisfies ExportedHandler<Env>;
