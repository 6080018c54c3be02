import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server that keeps some of its answers until it is told to give them. */
export interface Upstream {
  readonly port: number;
  /** Resolves when so many requests for `/hold` wait. */
  untilHeld(count: number): Promise<void>;
  releaseAll(): void;
  stop(): void;
}

/** `/hold` waits for `/release` or `/release-all`; `/until-held?count=` for those; others are answered. */
export async function startUpstream(): Promise<Upstream> {
  const held: ServerResponse[] = [];
  let waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const told = () => {
    for (const { resolve } of waiting.filter(({ count }) => count <= held.length)) resolve();
    waiting = waiting.filter(({ count }) => count > held.length);
  };
  const untilHeld = (count: number) =>
    new Promise<void>((resolve) => {
      waiting.push({ count, resolve });
      told();
    });
  const release = (count: number) => {
    for (const response of held.splice(0, count)) response.end('released');
  };

  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://upstream');
    if (pathname === '/hold') {
      held.push(response);
      return told();
    }
    if (pathname === '/until-held') await untilHeld(Number(searchParams.get('count')));
    if (pathname === '/release') release(1);
    if (pathname === '/release-all') release(held.length);
    const { to } = Object.fromEntries(searchParams);
    if (to !== undefined) response.writeHead(302, { location: to });
    response.end(`upstream of ${request.headers.host}`);
  });
  server.listen(0);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    untilHeld,
    releaseAll: () => release(held.length),
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
