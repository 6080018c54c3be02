import type { ConnectFunction } from '../../../worker/dial/socket.ts';
import type { Env } from '../../../worker/env.ts';
import { createGateway, type Gateway, handle } from '../../../worker/gateway.ts';
import { productionConnect } from './connect.ts';
import { inRequest } from './connections.ts';
import { counted } from './counted.ts';
import { staleKv } from './stale-kv.ts';

export interface LocalEnv extends Env {
  /** Of ../../production-network.ts. */
  readonly NETWORK: Fetcher;
}

/** What the rules are laid around. */
export interface Platform {
  readonly connect: ConnectFunction;
  /** Milliseconds, for the age of what KV's cache holds. */
  readonly now: () => number;
}

/** The gateway of worker/index.ts, in an environment that refuses what production refuses. */
export function productionGateway(
  platformOf: (env: LocalEnv) => Platform,
): ExportedHandler<LocalEnv> {
  let gateway: Gateway | null = null;
  return {
    fetch(request, env, ctx) {
      gateway ??= createUnderRules(env, platformOf(env));
      const current = gateway;
      return inRequest(() => handle(current, request, ctx));
    },
  };
}

function createUnderRules(env: LocalEnv, { connect, now }: Platform): Gateway {
  const ruled = { ...env, KV: counted(staleKv(env.KV, now)), DB: counted(env.DB) };
  return createGateway(ruled, productionConnect(connect));
}
