import type { Cluster } from './cluster.ts';

/**
 * Counts the attempts to connect to a TCP port of a host that reach it, whether or not they are
 * answered. One attempt that is not answered is counted again each time it is repeated: after one
 * second, three, seven.
 */
export async function connectCounter(
  cluster: Cluster,
  host: string,
  port: number,
): Promise<() => Promise<number>> {
  const chain = ['iptables', '-w', '-t', 'raw'];
  // A rule without a target counts, and nothing else. First of all: before any other rule.
  const rule = ['PREROUTING', '-p', 'tcp', '--dport', String(port), '--syn'];
  await cluster.exec(host, [...chain, '-A', ...rule]);
  const line = new RegExp(`^ *(\\d+) .*dpt:${port} `, 'm');
  return async () => {
    const list = await cluster.exec(host, [...chain, '-vnxL', 'PREROUTING']);
    return Number(line.exec(list)?.[1]);
  };
}

/**
 * From now on a host answers nobody who connects to a TCP port, so that it takes for ever (`DROP`), or
 * refuses everybody (`REJECT`). Returns the way back.
 */
export async function blockPort(
  cluster: Cluster,
  host: string,
  port: number,
  how: 'DROP' | 'REJECT',
): Promise<() => Promise<void>> {
  const target = how === 'DROP' ? ['DROP'] : ['REJECT', '--reject-with', 'tcp-reset'];
  const rule = ['INPUT', '-p', 'tcp', '--dport', String(port), '-j', ...target];
  await cluster.exec(host, ['iptables', '-w', '-I', ...rule]);
  return async () => void (await cluster.exec(host, ['iptables', '-w', '-D', ...rule]));
}

/** Pulls the plug of a host: nothing goes in or out. Returns the way back. */
export async function unplug(cluster: Cluster, host: string): Promise<() => Promise<void>> {
  // The edge's end of its wire has the host's name.
  const set = (state: string) => cluster.exec('edge', ['ip', 'link', 'set', host, state]);
  await set('down');
  return async () => void (await set('up'));
}
