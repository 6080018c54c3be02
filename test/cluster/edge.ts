import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The variable through which `in-edge.ts` tells the command that it runs where it is. */
export const EDGE_VARIABLE = 'CAUSEWAY_EDGE';

/** The address of the control plane and the gateway, and the router of all other hosts. */
export const EDGE_ADDRESS = '10.0.0.1';

/** The first network namespace of a run. It holds the bridge, the control plane and the tests. */
export interface Edge {
  /** `cw<pid>`: all namespaces of this run are named `<prefix>-<host>`. */
  readonly prefix: string;
  /** A folder of this run alone, removed at its end. */
  readonly dir: string;
  /** The folder with etcd, kube-apiserver, kube-controller-manager, kube-proxy and kubectl. */
  readonly binaries: string;
  /** The folder with helm and a current kubectl. */
  readonly tools: string;
}

/** The edge in which this process runs. Throws when it runs outside. */
export function currentEdge(): Edge {
  const text = process.env[EDGE_VARIABLE];
  if (text) return JSON.parse(text) as Edge;
  throw new Error(
    'a cluster needs its own network namespaces: run the command as root under test/cluster/in-edge.ts',
  );
}

/** Makes the namespace `<prefix>-edge` with the bridge br0. Must run as root. */
export function createEdge(binaries: string, tools: string): Edge {
  const prefix = `cw${process.pid}`;
  const namespace = `${prefix}-edge`;
  ip(['netns', 'add', namespace]);
  sysctls(namespace, [
    // The edge routes between the hosts: pod addresses of one node from another node.
    'net.ipv4.ip_forward=1',
    'net.ipv4.conf.all.send_redirects=0',
    'net.ipv4.conf.default.send_redirects=0',
  ]);
  ip(['-netns', namespace, 'link', 'set', 'lo', 'up']);
  ip(['-netns', namespace, 'link', 'add', 'br0', 'type', 'bridge']);
  ip(['-netns', namespace, 'address', 'add', `${EDGE_ADDRESS}/24`, 'dev', 'br0']);
  ip(['-netns', namespace, 'link', 'set', 'br0', 'up']);
  return { prefix, dir: mkdtempSync(join(tmpdir(), `causeway-${prefix}-`)), binaries, tools };
}

/** Ends what still runs in the namespaces of this run, and removes them and the folder. */
export function destroyEdge({ prefix, dir }: Edge): void {
  for (const namespace of namespacesOf(prefix)) destroyNamespace(namespace);
  // Some of those that were killed may not have quite ended.
  rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
}

/** Removes what runs killed with SIGKILL left behind: namespaces and folders of pids that are no more. */
export function sweepDeadEdges(): void {
  const dead = (pid: string | undefined) => pid !== undefined && !isAlive(Number(pid));
  for (const namespace of namespaces()) {
    if (dead(/^cw(\d+)-/.exec(namespace)?.[1])) destroyNamespace(namespace);
  }
  for (const folder of readdirSync(tmpdir())) {
    if (dead(/^causeway-cw(\d+)-/.exec(folder)?.[1])) {
      rmSync(join(tmpdir(), folder), { recursive: true, force: true });
    }
  }
}

/** The arguments that run `argv` in a namespace. */
export function inNamespace(namespace: string, argv: readonly string[]): string[] {
  // Not `ip netns exec`: that also unshares the mounts, and a namespace made inside would be
  // invisible outside, so that nobody could remove it after a crash.
  return ['nsenter', `--net=/run/netns/${namespace}`, '--', ...argv];
}

/** Runs `ip` to its end and returns its stdout. Throws with its stderr. */
export function ip(args: readonly string[]): string {
  return command(['ip', ...args]);
}

/** Sets kernel parameters inside a namespace. */
export function sysctls(namespace: string, settings: readonly string[]): void {
  command(inNamespace(namespace, ['sysctl', '--quiet', '--write', ...settings]));
}

/** Kills the processes in a namespace and removes it. Also for exit handlers: nothing is awaited. */
export function destroyNamespace(namespace: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).stdout ?? '';
  for (const pid of pids.split('\n').filter(Boolean).map(Number)) {
    if (pid !== process.pid) killIfAlive(pid);
  }
  ip(['netns', 'delete', namespace]);
}

function namespacesOf(prefix: string): string[] {
  return namespaces().filter((name) => name.startsWith(`${prefix}-`));
}

function namespaces(): string[] {
  const lines = ip(['netns', 'list']).split('\n').filter(Boolean);
  return lines.map((line) => line.replace(/ .*/, ''));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in the meantime.
  }
}

function command([program = '', ...args]: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}
