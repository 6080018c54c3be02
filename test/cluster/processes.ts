import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ProcessSpec {
  /** Unique among those running; also the name of the log file. */
  name: string;
  /** Program and arguments; nothing passes through a shell. */
  argv: readonly string[];
  /** Added to this process's own environment. */
  env?: Record<string, string>;
}

/** One process that we started. Its stdout and stderr go to `logFile`. */
export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves when the process has ended, with its exit code or `null` when a signal ended it. */
  readonly exited: Promise<number | null>;
  /** False as soon as the process has ended. */
  isRunning(): boolean;
  /** Sends `signal`; a process that has ended is left alone. */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after `graceMs`. Resolves when the process has ended. */
  stop(graceMs: number): Promise<void>;
  /** The last lines of its log, for error messages. */
  logTail(lines?: number): string;
}

/**
 * All processes of one cluster. Ends them by pid, never by name.
 *
 * Each child gets SIGKILL from the kernel when this process dies in a way that leaves no time to
 * clean up (`setpriv --pdeathsig`), and a process group of its own, so that Ctrl-C reaches only us.
 */
export class Processes {
  readonly #logDir: string;
  readonly #running = new Set<RunningProcess>();

  /** @param logDir an existing folder; each process writes `<name>.log` there. */
  constructor(logDir: string) {
    this.#logDir = logDir;
  }

  /** Starts a process. Throws when the program cannot be started at all. */
  start({ name, argv, env }: ProcessSpec): RunningProcess {
    const logFile = join(this.#logDir, `${name}.log`);
    const log = openSync(logFile, 'a');
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
      detached: true,
    });
    closeSync(log);
    const started = follow(child, name, logFile);
    this.#running.add(started);
    void started.exited.then(() => this.#running.delete(started));
    return started;
  }

  /** Ends everything with SIGKILL and waits until it has ended. */
  async killAll(): Promise<void> {
    this.killAllNow();
    await Promise.all([...this.#running].map((each) => each.exited));
  }

  /** The part of `killAll` that an exit handler can do: sends the signals and waits for nothing. */
  killAllNow(): void {
    for (const each of this.#running) each.signal('SIGKILL');
  }
}

/**
 * Runs a program to its end and returns its stdout.
 * Throws an `Error` with its stderr when it cannot be started, fails, or takes longer than `timeoutMs`.
 */
export function run(
  argv: readonly string[],
  { stdin = '', timeoutMs = 60_000, env = {} }: RunOptions = {},
): Promise<string> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      {
        encoding: 'utf8',
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 64 * 1024 * 1024,
        env: { ...process.env, ...env },
      },
      (error, stdout, stderr) => {
        if (!error) resolve(stdout);
        else reject(new Error(`${argv.join(' ')}: ${stderr.trim() || error.message}`));
      },
    );
    // A program that exits before it has read its input is not a failure of ours: its exit code decides.
    child.stdin?.on('error', () => {});
    child.stdin?.end(stdin);
  });
}

export interface RunOptions {
  stdin?: string;
  /** Default 60 000. */
  timeoutMs?: number;
  /** Added to this process's own environment. */
  env?: Record<string, string>;
}

function follow(child: ChildProcess, name: string, logFile: string): RunningProcess {
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} could not be started (is setpriv installed?)`);
  let running = true;
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => {
      running = false;
      resolve(code);
    });
  });
  const signal = (which: NodeJS.Signals) => {
    if (running) child.kill(which);
  };
  return {
    name,
    pid,
    logFile,
    exited,
    signal,
    isRunning: () => running,
    async stop(graceMs) {
      signal('SIGTERM');
      const timer = setTimeout(signal, graceMs, 'SIGKILL');
      await exited;
      clearTimeout(timer);
    },
    logTail: (lines = 20) =>
      readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n'),
  };
}
