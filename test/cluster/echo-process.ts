import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Network } from './network.ts';
import type { Processes, RunningProcess } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

export interface EchoSpec {
  /** The host it runs on: `node1`, `ext1`, `edge`. */
  host: string;
  /** One of the host's addresses. */
  address: string;
  ports: readonly number[];
  /** What it says of itself in its answers. */
  identity: { namespace: string; service?: string; pod: string; node: string };
  /** Default 0. How long nobody must have connected before it stops listening, see echo-server.ts. */
  lingersMs?: number;
  /** Unique among the running processes; names its log. */
  processName: string;
}

/** Starts an echo server and waits until it accepts connections. Throws with its log when it ends before. */
export async function startEchoProcess(
  network: Network,
  processes: Processes,
  { host, address, ports, identity, lingersMs = 0, processName }: EchoSpec,
): Promise<RunningProcess> {
  const program = fileURLToPath(new URL('echo-server.ts', import.meta.url));
  const echo = processes.start({
    name: processName,
    argv: network.argvOn(host, [process.execPath, program]),
    env: {
      ECHO_ADDRESS: address,
      ECHO_PORTS: ports.join(','),
      ECHO_NAMESPACE: identity.namespace,
      ECHO_SERVICE: identity.service ?? '',
      ECHO_POD: identity.pod,
      ECHO_NODE: identity.node,
      ECHO_LINGERS_MS: String(lingersMs),
    },
  });
  try {
    for (const port of ports) {
      const probe = () => {
        if (!echo.isRunning()) throw new GiveUp(`${processName} ended:\n${echo.logTail()}`);
        return accepts(address, port);
      };
      await waitFor(`${processName} on ${address}:${port}`, probe, { intervalMs: 20 });
    }
  } catch (error) {
    echo.signal('SIGKILL');
    throw error;
  }
  return echo;
}

/** Whether a TCP connection from here to `address:port` is accepted within a second. */
function accepts(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const settle = (isAccepted: boolean) => {
      socket.destroy();
      resolve(isAccepted);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
    socket.setTimeout(1000, () => settle(false));
  });
}
