import {
  type AddressClass,
  classifyAddress,
  isForbidden,
  isForbiddenInProduction,
  isRefusedInProduction,
} from '../../snapshot/address.ts';
import type { Endpoint } from '../../snapshot/types.ts';
import { Deadline } from './deadline.ts';
import type { Connection, Dialer } from './dialer.ts';
import { DialError } from './upstream-error.ts';

/** What we use of a socket of `cloudflare:sockets`. */
export interface RawSocket {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly opened: Promise<unknown>;
  readonly closed: Promise<void>;
  close(): Promise<void>;
}

/** `connect` of `cloudflare:sockets` or of a Workers VPC network binding. */
export type ConnectFunction = (
  address: { hostname: string; port: number },
  options: { secureTransport: 'off'; allowHalfOpen: boolean },
) => RawSocket;

/**
 * `production` dials what Cloudflare would; `tunnel` private addresses as well; `local` loopback ones
 * too.
 */
export type AddressPolicy = 'production' | 'tunnel' | 'local';

const REFUSES: Readonly<Record<AddressPolicy, (addressClass: AddressClass) => boolean>> = {
  production: isRefusedInProduction,
  tunnel: isForbiddenInProduction,
  local: isForbidden,
};

/** Dials with a TCP socket from wherever the worker runs. */
export function socketDialer(connect: ConnectFunction, policy: AddressPolicy): Dialer {
  return {
    async dial(endpoint, timeoutMs) {
      const hostname = dialledHostname(endpoint, policy);
      let socket: RawSocket;
      try {
        // Half open: an upstream that ends its side must not cut off what we still have to say.
        const options = { secureTransport: 'off', allowHalfOpen: true } as const;
        socket = connect({ hostname, port: endpoint.port }, options);
      } catch (error) {
        throw dialError('refused', endpoint, error);
      }
      await opened(socket, endpoint, timeoutMs);
      return connectionOf(socket);
    },
  };
}

/**
 * Dials through a Workers VPC network, whose whole purpose is private addresses. Without the
 * binding every attempt fails and says why.
 */
export function vpcDialer(network: { connect: ConnectFunction } | null): Dialer {
  const dialer =
    network && socketDialer((address, options) => network.connect(address, options), 'tunnel');
  return {
    async dial(endpoint, timeoutMs) {
      if (!dialer) throw dialError('refused', endpoint, 'the worker has no VPC network binding');
      return dialer.dial(endpoint, timeoutMs);
    },
  };
}

const DNS_NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$/;

/** The hostname as `connect()` takes it. Throws when the address is none of ours to dial. */
function dialledHostname(endpoint: Endpoint, policy: AddressPolicy): string {
  const { host, port } = endpoint;
  const addressClass = classifyAddress(host);
  if (REFUSES[policy](addressClass))
    throw dialError('address', endpoint, `the address is ${addressClass}`);
  const isName = addressClass === 'name' || !host.includes(':');
  if ((isName && !DNS_NAME.test(host)) || !(Number.isInteger(port) && port > 0 && port < 65_536)) {
    throw dialError('address', endpoint, 'not a host and port');
  }
  return isName || host.startsWith('[') ? host : `[${host}]`;
}

async function opened(socket: RawSocket, endpoint: Endpoint, timeoutMs: number): Promise<void> {
  // Nobody else waits for it, and a refused connection rejects it too.
  socket.closed.catch(() => {});
  const deadline = new Deadline(timeoutMs);
  deadline.start();
  try {
    const late = deadline.expired.then(() => 'late');
    if ((await Promise.race([socket.opened, late])) !== 'late') return;
  } catch (error) {
    throw dialError('refused', endpoint, error);
  } finally {
    deadline.stop();
  }
  void closeQuietly(socket);
  // A runtime that cannot close what is not yet open closes it when it opens.
  socket.opened.then(
    () => closeQuietly(socket),
    () => {},
  );
  throw dialError('timeout', endpoint, `no connection within ${timeoutMs} ms`);
}

function connectionOf(socket: RawSocket): Connection {
  return {
    readable: socket.readable,
    writable: socket.writable,
    close: () => closeQuietly(socket),
  };
}

/** `close()` may reject, or throw, when the other side was faster; either way it is closed. */
async function closeQuietly(socket: RawSocket): Promise<void> {
  try {
    await socket.close();
  } catch {}
}

function dialError(failure: DialError['failure'], endpoint: Endpoint, cause: unknown): DialError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new DialError(failure, `cannot dial ${endpoint.host}:${endpoint.port}: ${reason}`, cause);
}
