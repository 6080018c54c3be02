import { classifyAddress, isRefusedInProduction } from '../../../snapshot/address.ts';
import type { ConnectFunction, RawSocket } from '../../../worker/dial/socket.ts';
import { currentConnections } from './connections.ts';
import { PendingSocket } from './pending-socket.ts';

/**
 * `connect()` as it is in production. The dialer refuses the same addresses before; this stands
 * behind it and does not ask for `ADDRESS_POLICY`, so a mistake in one of them shows.
 */
export function productionConnect(connect: ConnectFunction): ConnectFunction {
  const connectInTurn = inTurn(connect);
  return (address, options) => {
    const refusal = refusalOf(address);
    if (refusal === null) return connectInTurn(address, options);
    return new PendingSocket(Promise.reject(new Error(refusal)));
  };
}

/**
 * Why production refuses, in its words: "Outbound TCP sockets to Cloudflare IP ranges are blocked",
 * as are `localhost`, private addresses and port 25
 * (https://developers.cloudflare.com/workers/runtime-apis/tcp-sockets/#troubleshooting). The advice
 * for the ports of HTTP is in workerd's src/workerd/api/sockets.c++, `handleProxyStatus`.
 */
function refusalOf({ hostname, port }: { hostname: string; port: number }): string | null {
  if (port === 25) return 'Connections to port 25 are prohibited';
  if (!isRefusedInProduction(classifyAddress(hostname))) return null;
  const refusal = 'proxy request failed, cannot connect to the specified address';
  if (port !== 80 && port !== 443) return refusal;
  return `${refusal}. It looks like you might be trying to connect to a HTTP-based service — consider using fetch instead`;
}

/** "Each socket counts towards the limit" of connections, but only while it connects. */
function inTurn(connect: ConnectFunction): ConnectFunction {
  return (address, options) => {
    const connections = currentConnections();
    if (!connections) return connect(address, options);
    const begin = (): RawSocket => {
      let socket: RawSocket;
      try {
        socket = connect(address, options);
      } catch (error) {
        connections.leave();
        throw error;
      }
      const leave = () => connections.leave();
      // A socket that is closed before it opened settles only the latter.
      Promise.race([socket.opened, socket.closed]).then(leave, leave);
      return socket;
    };
    const turn = connections.enter();
    return turn === null ? begin() : new PendingSocket(turn.then(begin));
  };
}
