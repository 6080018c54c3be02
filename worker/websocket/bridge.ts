import { Deadline } from '../dial/deadline.ts';
import type { UpgradedConnection } from '../http1/message.ts';
import { ClientPeer } from './client-peer.ts';
import type { Close } from './close.ts';
import type { Ending } from './ending.ts';
import { UpstreamPeer } from './upstream-peer.ts';

/**
 * How long a peer may take to answer a Close frame, or to take more of what waits for it by then.
 * Well under the 30 seconds that `waitUntil` grants after a client has gone.
 */
export const CLOSE_TIMEOUT_MS = 10_000;

/**
 * For the client of an upstream that ended without a Close frame: 1006 cannot be sent, and 1014 ("bad
 * gateway"), registered after RFC 6455, is an invalid code to some clients. No reason: the cause is
 * for the log.
 */
const UPSTREAM_LOST: Close = { code: 1011, reason: '' };

export interface BridgeOptions {
  readonly upgraded: UpgradedConnection;
  /** The server end of a `WebSocketPair`, not yet accepted. */
  readonly client: WebSocket;
  readonly closeTimeoutMs?: number;
}

/**
 * Carries messages both ways until one side ends, and then that end to the other side. For
 * `waitUntil`: resolves when the upstream's connection is closed, with how it ended, for the log.
 *
 * Pings are answered by each side on its own: workerd answers the client's, we the upstream's.
 */
export async function bridge(options: BridgeOptions): Promise<Ending> {
  // The client first: the upstream may have sent messages along with its handshake.
  const client = new ClientPeer(options.client, (data) => upstream.send(data));
  const upstream = new UpstreamPeer(options.upgraded, (data) => {
    client.send(data);
    return client.room();
  });

  const ending = await Promise.race([client.ended, upstream.ended]);
  const deadline = new Deadline(options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS);
  upstream.onProgress = () => deadline.start();
  deadline.start();
  try {
    await passOn(ending, client, upstream, deadline);
    await within(deadline, upstream.finish({ serverFirst: ending.kind === 'closed' }));
  } finally {
    deadline.stop();
    await options.upgraded.close();
  }
  return ending;
}

/** Tells the other side, waits for its answer, and gives that to the side that ended first. */
async function passOn(
  ending: Ending,
  client: ClientPeer,
  upstream: UpstreamPeer,
  deadline: Deadline,
): Promise<void> {
  switch (ending.kind) {
    case 'closed':
      return ending.by === 'client'
        ? closeUpstream(ending.close, client, upstream, deadline)
        : closeClient(ending.close, client, upstream, deadline);
    case 'lost':
      // A client that is gone leaves nothing to say: the upstream sees its own connection end
      // without a Close frame, as it would have without us.
      if (ending.by === 'upstream') {
        client.close(UPSTREAM_LOST);
        await within(deadline, client.ended);
      }
      return;
    case 'failed':
      upstream.fail(ending.codes.upstream);
      client.close({ code: ending.codes.client, reason: '' });
      await within(deadline, client.ended);
      return;
    default:
      ending satisfies never;
  }
}

async function closeUpstream(
  close: Close,
  client: ClientPeer,
  upstream: UpstreamPeer,
  deadline: Deadline,
): Promise<void> {
  upstream.close(close);
  const answer = await within(deadline, upstream.ended);
  client.close(answer?.kind === 'closed' ? answer.close : UPSTREAM_LOST);
}

async function closeClient(
  close: Close,
  client: ClientPeer,
  upstream: UpstreamPeer,
  deadline: Deadline,
): Promise<void> {
  client.close(close);
  const answer = await within(deadline, client.ended);
  // The usual answer is an echo (RFC 6455 section 5.5.1), so that is what an absent one becomes.
  upstream.close(answer?.kind === 'closed' ? answer.close : close);
}

/** Resolves as the promise does, or with null once the time has run out. */
function within<T>(deadline: Deadline, promise: Promise<T>): Promise<T | null> {
  return Promise.race([promise, deadline.expired.then(() => null)]);
}
