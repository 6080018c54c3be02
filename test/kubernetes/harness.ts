import type { Clock } from '../../syncer/clock.ts';
import type { Logger } from '../../syncer/log.ts';

/** A callback that can be awaited. */
export class Changes {
  count = 0;
  #recheck: (() => void)[] = [];

  readonly note = (): void => {
    this.count += 1;
    for (const recheck of this.#recheck.splice(0)) recheck();
  };

  /** Resolves when the condition holds: now, or after a change. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#recheck.push(resolve));
  }
}

/** Sleeps end at once and are written down, except those of a length that is held back. */
export class FakeClock implements Clock {
  time = 0;
  readonly slept: number[] = [];
  readonly #heldMs: number | null;
  #held: (() => void)[] = [];

  constructor(heldMs: number | null = null) {
    this.#heldMs = heldMs;
  }

  now(): number {
    return this.time;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (ms === this.#heldMs) {
      return new Promise((resolve) => {
        this.#held.push(resolve);
        signal.addEventListener('abort', () => resolve());
      });
    }
    this.slept.push(ms);
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** How many sleeps are held back. */
  get held(): number {
    return this.#held.length;
  }

  /** Ends the sleeps that were held back. */
  release(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** A logger that keeps its lines. */
export class LogLines implements Logger {
  readonly lines: LogLine[] = [];
  readonly written = new Changes();

  info(fields: object, message: string): void {
    this.#write({ level: 'info', fields: { ...fields }, message });
  }

  warn(fields: object, message: string): void {
    this.#write({ level: 'warn', fields: { ...fields }, message });
  }

  error(fields: object, message: string): void {
    this.#write({ level: 'error', fields: { ...fields }, message });
  }

  #write(line: LogLine): void {
    this.lines.push(line);
    this.written.note();
  }
}
