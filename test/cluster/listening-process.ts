import { connect } from 'node:net';
import type { Network } from './network.ts';
import type { Processes, RunningProcess } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

export interface ListenerSpec {
  /** The host it runs on: `node1`, `ext1`, `edge`. */
  readonly host: string;
  readonly argv: readonly string[];
  readonly env: Record<string, string>;
  /** Where it listens, once it does. */
  readonly address: string;
  readonly ports: readonly number[];
  /** Unique among the running processes; names its log. */
  readonly processName: string;
}

/** Starts a program and waits until it accepts connections. Throws with its log when it ends before. */
export async function startListeningProcess(
  network: Network,
  processes: Processes,
  { host, argv, env, address, ports, processName }: ListenerSpec,
): Promise<RunningProcess> {
  const started = processes.start({ name: processName, argv: network.argvOn(host, argv), env });
  try {
    for (const port of ports) {
      const probe = () => {
        if (!started.isRunning()) throw new GiveUp(`${processName} ended:\n${started.logTail()}`);
        return accepts(address, port);
      };
      await waitFor(`${processName} on ${address}:${port}`, probe, { intervalMs: 20 });
    }
  } catch (error) {
    started.signal('SIGKILL');
    throw error;
  }
  return started;
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
