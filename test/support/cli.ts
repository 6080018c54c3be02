import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../bin/causeway.mjs', import.meta.url));

export interface CliOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** `causeway` as a user runs it: a child process, with whatever it starts in one process group. */
export class Cli implements AsyncDisposable {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  readonly stdout = new Lines();
  readonly stderr = new Lines();
  readonly #child: ChildProcess;

  static start(args: readonly string[], options: CliOptions): Cli {
    return new Cli(args, options);
  }

  private constructor(args: readonly string[], { cwd, env = {} }: CliOptions) {
    // Of the environment only what a command needs: a test must not depend on the developer's.
    const { PATH = '', HOME = '' } = process.env;
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd,
      env: { PATH, HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.stdout.follow(child.stdout);
    this.stderr.follow(child.stderr);
    this.ended = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /** Sends a signal to the command alone, as `kill` does. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a signal to all of its group, as Ctrl-C in a terminal does. */
  interrupt(): void {
    process.kill(-this.pid, 'SIGINT');
  }

  /** What of its group runs now, as `pid command`. */
  running(): readonly string[] {
    const table = execFileSync('ps', ['-A', '-o', 'pgid=,stat=,pid=,comm='], { encoding: 'utf8' });
    return table.split('\n').flatMap((line) => {
      const [group, state = '', ...rest] = line.trim().split(/\s+/);
      return group === String(this.pid) && !state.startsWith('Z') ? [rest.join(' ')] : [];
    });
  }

  /** What of its group is left once it has had some time to go. */
  async leftBehind(): Promise<readonly string[]> {
    for (let polls = 0; polls < 50 && this.running().length > 0; polls++) await setTimeout(20);
    return this.running();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // All of it has ended.
    }
    await this.ended;
  }
}

/** The lines of a stream, each to be had once, in order. */
export class Lines {
  /** All that have come. */
  readonly all: string[] = [];
  #next = 0;
  #isClosed = false;
  #changed = Promise.withResolvers<void>();

  follow(stream: NodeJS.ReadableStream): void {
    const lines = createInterface({ input: stream });
    lines.on('line', (line) => {
      this.all.push(line);
      this.#change();
    });
    lines.on('close', () => {
      this.#isClosed = true;
      this.#change();
    });
  }

  /** The next line that matches, once it has come; those before it are passed over. */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      while (this.#next < this.all.length) {
        const line = this.all[this.#next++] ?? '';
        if (pattern.test(line)) return line;
      }
      if (this.#isClosed) throw new Error(`no line matched ${pattern}:\n${this.all.join('\n')}`);
      await this.#changed.promise;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** Runs a command to its end. */
export async function run(args: readonly string[], options: CliOptions) {
  await using cli = Cli.start(args, options);
  const { code } = await cli.ended;
  return { code, stdout: cli.stdout.all.join('\n'), stderr: cli.stderr.all.join('\n') };
}
