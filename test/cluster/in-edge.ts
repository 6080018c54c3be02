/**
 * Runs a command where a cluster can be started: inside network namespaces of its own.
 *
 *     node test/cluster/in-edge.ts COMMAND [ARGUMENT...]
 *
 * Must run as root. Finds (or builds) the Kubernetes binaries, makes the edge namespace, runs the
 * command in it, and afterwards ends whatever is left in the namespaces and removes them. Exits with
 * the command's exit code.
 */
import { spawn, spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { createEdge, destroyEdge, EDGE_VARIABLE, inNamespace, sweepDeadEdges } from './edge.ts';

/** How long a command may take to end by itself after SIGINT or SIGTERM, before it is killed. */
const GRACE_MS = 15_000;

/** Runs `argv` inside a new edge. Resolves with its exit code; 128 plus its number when a signal ended it. */
export async function runInEdge(argv: readonly string[]): Promise<number> {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root');
  // Outside the edge, because what they fetch is out of reach inside.
  const binaries = folderFrom('binaries.sh');
  const tools = folderFrom('tools.sh');
  sweepDeadEdges();
  const edge = createEdge(binaries, tools);
  const stopRelaying = { now: () => {} };
  try {
    const [program = '', ...args] = [
      ...['setpriv', '--pdeathsig', 'KILL', '--'],
      ...inNamespace(`${edge.prefix}-edge`, argv),
    ];
    const child = spawn(program, args, {
      stdio: 'inherit',
      // What programs leave in their temporary folder when they are killed goes with the edge.
      env: { ...process.env, TMPDIR: edge.dir, [EDGE_VARIABLE]: JSON.stringify(edge) },
    });
    stopRelaying.now = relaySignals((signal) => child.kill(signal));
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']),
      );
    });
  } finally {
    destroyEdge(edge);
    stopRelaying.now();
  }
}

/**
 * For scripts: goes on inside an edge, or runs this very script again in one and exits with its code.
 * Call it first; what follows runs inside.
 */
export async function enterEdge(): Promise<void> {
  if (process.env[EDGE_VARIABLE]) return;
  process.exit(await runInEdge([process.execPath, ...process.execArgv, ...process.argv.slice(1)]));
}

/** The one line that a script of this folder prints. */
function folderFrom(name: string): string {
  const script = fileURLToPath(new URL(name, import.meta.url));
  const { status, stdout, error } = spawnSync(script, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`see the message of ${name} above`);
  return stdout.trim();
}

// The namespaces may only go after the command has ended, so a signal is passed on, not obeyed.
function relaySignals(send: (signal: NodeJS.Signals) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const relay = (signal: NodeJS.Signals) => {
    // On a terminal Ctrl-C reaches the command without us, and a second one means "at once" to many.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) send(signal);
    timer ??= setTimeout(send, GRACE_MS, 'SIGKILL');
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, relay);
  return () => {
    clearTimeout(timer);
    for (const signal of signals) process.off(signal, relay);
  };
}

const startedAs = process.argv[1];
if (startedAs && realpathSync(startedAs) === fileURLToPath(import.meta.url)) {
  const argv = process.argv.slice(2);
  if (argv.length === 0) {
    console.error('usage: node test/cluster/in-edge.ts COMMAND [ARGUMENT...]');
    process.exit(2);
  }
  process.exit(await runInEdge(argv));
}
