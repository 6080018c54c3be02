import { createHash } from 'node:crypto';
import type { Notice } from './events.ts';
import { TokenBucket } from './token-bucket.ts';

/** Half of the time after which an API server forgets an Event by default. */
export const REFRESH_MS = 30 * 60_000;
/** What was mended and is back is said again after this time. */
const RETURN_MS = 5 * 60_000;

const ALL_BURST = 100;
const ALL_REFILL_MS = 200;
const OBJECT_BURST = 10;
const OBJECT_REFILL_MS = 60_000;

/** An Event that the server has. */
interface Told {
  readonly toldAtMs: number;
  /** How often, as we know. */
  readonly count: number;
  /** Whether it has been true ever since. */
  isPresent: boolean;
}

export type Decision =
  | { readonly kind: 'create'; readonly notice: Notice; readonly name: string }
  | {
      readonly kind: 'refresh';
      readonly notice: Notice;
      readonly name: string;
      readonly count: number;
    };

/**
 * What was told, and how much more may be: each thing once, and again as a series after a long
 * time; some at once about one object and about all, and then only now and then. What there is no
 * room for waits for the next time, and is counted.
 */
export class EventMemory {
  readonly #controllerName: string;
  readonly #told = new Map<string, Told>();
  readonly #objects = new Map<string, TokenBucket>();
  readonly #all: TokenBucket;
  #waiting: ReadonlySet<string> = new Set();

  constructor(controllerName: string, nowMs: number) {
    this.#controllerName = controllerName;
    this.#all = new TokenBucket(ALL_BURST, ALL_REFILL_MS, nowMs);
  }

  /** What to write now, in the order of the notices; `dropped` of those that wait are new. */
  decide(
    notices: readonly Notice[],
    nowMs: number,
  ): {
    readonly decisions: readonly Decision[];
    readonly waiting: readonly Notice[];
    readonly dropped: number;
  } {
    const byName = new Map(notices.map((notice) => [this.nameOf(notice), notice]));
    this.#forget(byName, nowMs);
    const decisions: Decision[] = [];
    const waiting = new Map<string, Notice>();
    for (const [name, notice] of byName) {
      const told = this.#told.get(name);
      if (told && !isDue(told, nowMs)) continue;
      if (!this.#admit(notice, nowMs)) waiting.set(name, notice);
      else if (told) decisions.push({ kind: 'refresh', notice, name, count: told.count + 1 });
      else decisions.push({ kind: 'create', notice, name });
    }
    const dropped = [...waiting.keys()].filter((name) => !this.#waiting.has(name)).length;
    this.#waiting = new Set(waiting.keys());
    return { decisions, waiting: [...waiting.values()], dropped };
  }

  /** The server has it now. */
  wasTold(decision: Decision, nowMs: number): void {
    const count = decision.kind === 'refresh' ? decision.count : 1;
    this.#told.set(decision.name, { toldAtMs: nowMs, count, isPresent: true });
  }

  /** The server does not have it any more. */
  isGone({ name }: Decision): void {
    this.#told.delete(name);
  }

  /**
   * Of an Event: the same for the same words about the same object, so that a replica or a process
   * that was started anew does not repeat what another has said.
   */
  nameOf({ object, uid, type, reason, note }: Notice): string {
    const identity = uid || `${object.kind} ${object.namespace}/${object.name}`;
    const words = [this.#controllerName, identity, type, reason, note].join('\u0000');
    const hash = createHash('sha256').update(words).digest('hex').slice(0, 20);
    const readable = object.name.toLowerCase().replaceAll(/[^a-z0-9-]+/g, '-');
    return `${readable.slice(0, 200).replaceAll(/^-+|-+$/g, '') || 'object'}.${hash}`;
  }

  #admit({ object }: Notice, nowMs: number): boolean {
    const key = `${object.kind} ${object.namespace}/${object.name}`;
    const bucket = this.#objects.get(key) ?? new TokenBucket(OBJECT_BURST, OBJECT_REFILL_MS, nowMs);
    this.#objects.set(key, bucket);
    if (!bucket.has(nowMs) || !this.#all.has(nowMs)) return false;
    bucket.take(nowMs);
    this.#all.take(nowMs);
    return true;
  }

  /** What nobody speaks of any more and would be told anew in any case. */
  #forget(present: ReadonlyMap<string, Notice>, nowMs: number): void {
    for (const [name, told] of this.#told) {
      if (present.has(name)) continue;
      told.isPresent = false;
      if (nowMs - told.toldAtMs > REFRESH_MS) this.#told.delete(name);
    }
    for (const [key, bucket] of this.#objects) {
      if (bucket.isFull(nowMs)) this.#objects.delete(key);
    }
  }
}

function isDue({ toldAtMs, isPresent }: Told, nowMs: number): boolean {
  return nowMs - toldAtMs >= (isPresent ? REFRESH_MS : RETURN_MS);
}
