import { fileURLToPath } from 'node:url';
import { startListeningProcess } from './listening-process.ts';
import type { Network } from './network.ts';
import type { Processes, RunningProcess } from './processes.ts';

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
export function startEchoProcess(
  network: Network,
  processes: Processes,
  { identity, lingersMs = 0, ...listener }: EchoSpec,
): Promise<RunningProcess> {
  const program = fileURLToPath(new URL('echo-server.ts', import.meta.url));
  return startListeningProcess(network, processes, {
    ...listener,
    argv: [process.execPath, program],
    env: {
      ECHO_ADDRESS: listener.address,
      ECHO_PORTS: listener.ports.join(','),
      ECHO_NAMESPACE: identity.namespace,
      ECHO_SERVICE: identity.service ?? '',
      ECHO_POD: identity.pod,
      ECHO_NODE: identity.node,
      ECHO_LINGERS_MS: String(lingersMs),
    },
  });
}
