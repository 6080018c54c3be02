import type { Clock } from '../../../syncer/clock.ts';
import type { Lease, LeaseSpec, LeaseStore } from '../../../syncer/lease.ts';

/**
 * Processes with clocks of their own, an API server that keeps one Lease and a network between
 * them, all in simulated time: nothing happens but what is due.
 */
export class World {
  /** Milliseconds of true time, which nobody in it can see. */
  nowMs = 0;
  readonly server = new LeaseServer();
  readonly random: () => number;
  readonly #due: { readonly atMs: number; readonly order: number; readonly work: () => void }[] =
    [];
  #order = 0;

  constructor(seed = 1) {
    this.random = mulberry32(seed);
  }

  at(atMs: number, work: () => void): void {
    this.#due.push({ atMs, order: this.#order++, work });
  }

  /** Lets time go by; after each thing that happened everybody does what follows, then `check`. */
  async run(ms: number, check: () => void = () => {}): Promise<void> {
    const endMs = this.nowMs + ms;
    await settled();
    for (;;) {
      this.#due.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const next = this.#due[0];
      if (!next || next.atMs > endMs) break;
      this.#due.shift();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      check();
      next.work();
      await settled();
      check();
    }
    this.nowMs = endMs;
    check();
  }
}

/** Keeps one Lease as the API server does: every write is for one resourceVersion. */
export class LeaseServer {
  lease: (LeaseSpec & { readonly version: number }) | null = null;
  readonly holders: string[] = [];
  #version = 0;

  write(spec: LeaseSpec, version: number | null): Lease | null {
    if ((this.lease?.version ?? null) !== version) return null;
    if (spec.holder !== this.lease?.holder) this.holders.push(spec.holder);
    this.lease = { ...spec, version: ++this.#version };
    return this.read();
  }

  read(): Lease | null {
    if (!this.lease) return null;
    const { version, ...spec } = this.lease;
    return { ...spec, metadata: { resourceVersion: String(version) } };
  }
}

/** What can befall a process; `true` while it does. */
interface Plight {
  /** SIGSTOP: nothing of it runs, its clocks go on. */
  stopped: boolean;
  /** Its machine sleeps: nothing runs and the monotonic clock stands; the time of day is right after. */
  suspended: boolean;
  /** Its calls get nowhere. */
  cutOff: boolean;
  /** Its calls are done, but it does not hear of it. */
  deaf: boolean;
}

/** One process: its two clocks, and its way to the Lease. */
export class Machine implements LeaseStore, Clock {
  readonly plight: Plight = { stopped: false, suspended: false, cutOff: false, deaf: false };
  /** How long a message takes, at most. */
  latencyMs = 20;
  /** By how much its time of day is wrong. */
  skewMs: number;
  readonly #world: World;
  /** How many of its milliseconds go by in one. */
  readonly #rate: number;
  #suspendedMs = 0;
  #suspendedAtMs = 0;
  /** What became due while it could not run. */
  readonly #held: (() => void)[] = [];

  constructor(world: World, { skewMs = 0, rate = 1 }: { skewMs?: number; rate?: number } = {}) {
    this.#world = world;
    this.skewMs = skewMs;
    this.#rate = rate;
  }

  get runs(): boolean {
    return !this.plight.stopped && !this.plight.suspended;
  }

  now(): number {
    const { nowMs } = this.#world;
    const asleepMs = this.#suspendedMs + (this.plight.suspended ? nowMs - this.#suspendedAtMs : 0);
    return 1_000 + (nowMs - asleepMs) * this.#rate;
  }

  readonly wallMs = () => 1.8e12 + this.#world.nowMs * this.#rate + this.skewMs;

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      this.#later(ms / this.#rate, resolve);
    });
  }

  befall(plight: keyof Plight, isSo: boolean): void {
    const { nowMs } = this.#world;
    if (plight === 'suspended' && isSo !== this.plight.suspended) {
      if (isSo) this.#suspendedAtMs = nowMs;
      else this.#suspendedMs += nowMs - this.#suspendedAtMs;
    }
    this.plight[plight] = isSo;
    if (this.runs) for (const work of this.#held.splice(0)) work();
  }

  read(signal: AbortSignal): Promise<Lease | null> {
    return this.#call(signal, () => this.#world.server.read());
  }

  create(spec: LeaseSpec, signal: AbortSignal): Promise<Lease | null> {
    return this.#call(signal, () => this.#world.server.write(spec, null));
  }

  replace(lease: Lease, spec: LeaseSpec, signal: AbortSignal): Promise<Lease | null> {
    const version = Number(lease.metadata.resourceVersion);
    return this.#call(signal, () => this.#world.server.write(pick(spec), version));
  }

  /** Something that is sent, done over there, and answered; any of it may not come about. */
  #call<T>(signal: AbortSignal, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      // What was sent arrives, also when the sender has given up or was stopped meanwhile.
      this.#world.at(this.#world.nowMs + this.#travelMs(), () => {
        if (this.plight.cutOff) return;
        const answer = work();
        if (!this.plight.deaf) this.#later(this.#travelMs(), () => resolve(answer));
      });
    });
  }

  /** In its own process, so not while that does not run. */
  #later(ms: number, work: () => void): void {
    this.#world.at(this.#world.nowMs + ms, () => {
      if (this.runs) work();
      else this.#held.push(work);
    });
  }

  #travelMs(): number {
    return 1 + this.#world.random() * this.latencyMs;
  }
}

function pick({
  holder,
  durationMs,
  transitions,
  acquiredAtMs,
  renewedAtMs,
}: LeaseSpec): LeaseSpec {
  return { holder, durationMs, transitions, acquiredAtMs, renewedAtMs };
}

/** Everything has happened that needs no time. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** https://github.com/bryc/code/blob/master/jshash/PRNGs.md#mulberry32 (public domain) */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
