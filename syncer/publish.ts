import { type EncodedSnapshot, encodeSnapshot } from '../snapshot/codec.ts';
import { pointerKey } from '../snapshot/keys.ts';
import { encodePointer } from '../snapshot/pointer.ts';
import { type SignatureKey, signVersion } from '../snapshot/signature.ts';
import type { Problem, Sha256, Snapshot } from '../snapshot/types.ts';
import type { D1Database } from './cloudflare/d1-database.ts';
import type { KvStore } from './cloudflare/kv-store.ts';
import {
  Ledger,
  type LedgerState,
  type NewPublication,
  type PointerRow,
  type PublishedManifest,
} from './ledger.ts';
import type { Logger } from './log.ts';
import { countSnapshot, KEEP_MS, summariseChanges } from './plan.ts';
import { type PublishResult, UnfinishedPublication } from './publish-result.ts';
import { ShardWriter } from './shard-writer.ts';
import { sweep } from './sweep.ts';

export interface PublisherOptions {
  readonly kv: Pick<KvStore, 'putAll' | 'put' | 'deleteAll' | 'list'>;
  readonly d1: D1Database;
  readonly cluster: string;
  /** Who publishes, for people: host name and build of the syncer. */
  readonly publishedBy: string;
  /** `null` publishes unsigned. */
  readonly signingKey: SignatureKey | null;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly log: Logger;
}

/** How long the pointer's row, as it was last seen, is believed when there is nothing to write. */
const STATE_MS = 5 * 60_000;
const MOVE_ATTEMPTS_MAX = 3;

/** A snapshot that is to be published, with all that is worked out about it. */
interface Wanted {
  readonly snapshot: Snapshot;
  readonly encoded: EncodedSnapshot;
  readonly signature: string;
  readonly problemCount: number;
  readonly shards: ShardWriter;
  readonly nowMs: number;
}

/**
 * Publishes snapshots of one cluster: bodies first, pointer last (law 4), and the pointer by
 * compare-and-set under a fencing token (law 5). Whatever fails, publishing again finishes it. One
 * call at a time.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #ledger: Ledger;
  #fencingToken: number | null = null;
  /** The token of whoever deposed us, until the next claim. */
  #deposedBy: number | null = null;
  /** What D1 says, with the time when it was read; `null` when it has to be read. */
  #state: (LedgerState & { readonly readAtMs: number }) | null = null;
  /** The last snapshot that was moved to, to tell what changed. */
  #published: Snapshot | null = null;
  /** The list in the problems table as JSON; `null` when it is not known. */
  #problems: string | null = null;
  /** The pointer in KV; `null` when it is not known. */
  #mirrored: string | null = null;
  #sweptAtMs = Number.NEGATIVE_INFINITY;
  /** So that a pinned pointer is told once for each version. */
  #pinToldFor: string | null = null;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#ledger = new Ledger(options.d1, options.cluster);
  }

  /**
   * Becomes the one who may move this cluster's pointer; everybody who claimed before is deposed.
   *
   * @param token a lease's count of holders; without it the next token in D1 is taken
   * @returns whether it is ours, and the token that D1 has now. One that was claimed before is
   *   never ours, not even if it was us and the answer was lost: who leads needs a higher one.
   * @throws CloudflareError
   */
  async claim(
    token: number | null = null,
  ): Promise<{ readonly granted: boolean; readonly fencingToken: number }> {
    const nowMs = this.#options.now();
    const { granted, fencingToken, state } = await this.#ledger.claim(token, nowMs);
    this.#fencingToken = token ?? fencingToken;
    this.#deposedBy = granted ? null : fencingToken;
    this.#state = { ...state, readAtMs: nowMs };
    this.#mirrored = null;
    this.#problems = null;
    this.#sweptAtMs = Number.NEGATIVE_INFINITY;
    return { granted, fencingToken };
  }

  /**
   * Makes the edge serve `snapshot` and the dashboard show `problems`. Without any change it costs
   * no call, so it may be called as often as one likes.
   *
   * @throws CloudflareError, CorruptSnapshotError or RangeError: nothing was moved
   * @throws UnfinishedPublication when the pointer is right but its mirror or the problems are not
   */
  async publish(snapshot: Snapshot, problems: readonly Problem[]): Promise<PublishResult> {
    const encoded = await encodeSnapshot(snapshot);
    if (this.#deposedBy !== null) return this.#deposed(encoded.version, this.#deposedBy);
    const { now, signingKey, cluster, kv, log } = this.#options;
    const nowMs = now();
    const wanted: Wanted = {
      snapshot,
      encoded,
      signature: signingKey ? await signVersion(signingKey, cluster, encoded.version) : '',
      problemCount: problems.length,
      shards: new ShardWriter(kv, log, encoded, nowMs),
      nowMs,
    };
    const result = await this.#forgettingOnError(() => this.#movePointer(wanted));
    if (result.outcome === 'deposed') return result;
    const isSweepDue = nowMs - this.#sweptAtMs >= KEEP_MS;
    // A syncer that was deposed in the middle may have written its own pointer over ours.
    if (isSweepDue) this.#mirrored = null;
    await this.#follow(result, problems);
    if (isSweepDue) await this.#sweep(wanted);
    return result;
  }

  async #movePointer(wanted: Wanted): Promise<PublishResult> {
    const { version } = wanted.encoded;
    for (let attempt = 1; attempt <= MOVE_ATTEMPTS_MAX; attempt++) {
      const state = await this.#read(wanted.nowMs);
      const { pointer, newest } = state;
      if (pointer && pointer.fencingToken > this.#token) {
        return this.#deposed(version, pointer.fencingToken);
      }
      if (pointer?.version === version && isSame(state.serving, wanted)) {
        return { outcome: 'unchanged', version };
      }
      if (pointer?.isPinned && isSame(newest, wanted)) return this.#pinned(version, pointer);
      await wanted.shards.writeMissing(state);
      const after = await this.#ledger.move(this.#publication(wanted), pointer?.version ?? '');
      const result = this.#decide(wanted, state, after);
      if (result) return result;
    }
    throw new Error(`the pointer of ${this.#options.cluster} moves under our hands; trying later`);
  }

  /** What the pointer says after the attempt, whether or not an answer was lost on the way. */
  #decide(wanted: Wanted, before: LedgerState, after: PointerRow | null): PublishResult | null {
    const { encoded, signature, nowMs } = wanted;
    const { version, manifest } = encoded;
    if (after && after.fencingToken > this.#token) {
      return this.#deposed(version, after.fencingToken);
    }
    const newest = { version, manifest, signature };
    if (after?.version === version && after.fencingToken === this.#token) {
      this.#state = { pointer: after, serving: newest, newest, readAtMs: nowMs };
      return this.#moved(wanted, before.pointer?.version ?? '');
    }
    if (after?.isPinned) {
      this.#state = { pointer: after, serving: before.serving, newest, readAtMs: nowMs };
      return this.#pinned(version, after);
    }
    // Moved by hand and not pinned: only a pin holds, so the next attempt moves on from there.
    const { log } = this.#options;
    const expected = before.pointer?.version ?? '';
    log.warn(
      { expected, found: after?.version ?? null },
      'somebody moved the pointer; it is moved on, for only a pinned pointer stays',
    );
    this.#state = null;
    return null;
  }

  #moved({ encoded, snapshot, shards }: Wanted, replaced: string): PublishResult {
    const { version } = encoded;
    const changes = summariseChanges(this.#published, snapshot);
    this.#published = snapshot;
    this.#pinToldFor = null;
    return { outcome: 'published', version, replaced, shardsWritten: shards.written.size, changes };
  }

  #pinned(version: Sha256, { version: serving }: PointerRow): PublishResult {
    const { log } = this.#options;
    if (this.#pinToldFor !== version) {
      const text = 'the pointer is pinned: the version is published but not served';
      log.warn({ version, serving }, text);
    }
    this.#pinToldFor = version;
    return { outcome: 'pinned', version, serving };
  }

  #deposed(version: Sha256, fencingToken: number): PublishResult {
    if (this.#deposedBy === null) this.#depose(fencingToken);
    return { outcome: 'deposed', version, fencingToken };
  }

  #depose(fencingToken: number): void {
    this.#deposedBy = fencingToken;
    const { log } = this.#options;
    const text = 'deposed: a newer syncer publishes for this cluster, this one no longer does';
    log.error({ fencingToken, ownFencingToken: this.#token }, text);
  }

  /** A pinned pointer is read anew each time, so that the end of the pin is seen. */
  async #read(nowMs: number): Promise<LedgerState> {
    const state = this.#state;
    const isFresh = state && nowMs - state.readAtMs < STATE_MS && nowMs >= state.readAtMs;
    if (isFresh && state.pointer && !state.pointer.isPinned) return state;
    let read = await this.#ledger.read();
    // No row: the database is new, or was set back to a time before us.
    if (!read.pointer) read = (await this.#ledger.claim(this.#token, nowMs)).state;
    this.#state = { ...read, readAtMs: nowMs };
    return read;
  }

  #publication({ snapshot, encoded, signature, problemCount, nowMs }: Wanted): NewPublication {
    const shardBytes = [...encoded.shards.values()].reduce((sum, { length }) => sum + length, 0);
    return {
      version: encoded.version,
      manifest: encoded.manifest,
      signature,
      publishedAtMs: nowMs,
      publishedBy: this.#options.publishedBy,
      fencingToken: this.#token,
      ...countSnapshot(snapshot),
      problems: problemCount,
      sizeBytes: shardBytes + encoded.manifest.length,
      changes: JSON.stringify(summariseChanges(this.#published, snapshot)),
    };
  }

  /** What comes after the pointer: its mirror in KV, and the problems. Neither waits for the other. */
  async #follow(result: PublishResult, problems: readonly Problem[]): Promise<void> {
    const done = await Promise.allSettled([this.#mirror(), this.#writeProblems(problems)]);
    const failed = done.find((each) => each.status === 'rejected');
    if (failed) throw new UnfinishedPublication(result, failed.reason);
  }

  async #mirror(): Promise<void> {
    const serving = this.#state?.serving;
    if (!serving) return;
    const { cluster, kv } = this.#options;
    const value = encodePointer({ cluster, ...serving });
    if (value === this.#mirrored) return;
    this.#mirrored = null;
    await kv.put({ key: pointerKey(cluster), value });
    this.#mirrored = value;
  }

  async #writeProblems(problems: readonly Problem[]): Promise<void> {
    const list = JSON.stringify(problems);
    if (list === this.#problems) return;
    this.#problems = null;
    await this.#ledger.replaceProblems(problems, this.#token);
    this.#problems = list;
  }

  /** At start-up and every hour. Its failures hurt nobody yet: they are told, and that is all. */
  async #sweep({ encoded, shards, nowMs }: Wanted): Promise<void> {
    this.#sweptAtMs = nowMs;
    const { kv, log } = this.#options;
    try {
      const fencingToken = this.#token;
      await sweep({ kv, ledger: this.#ledger, log, fencingToken, nowMs, encoded, shards });
    } catch (error) {
      log.warn({ error: String(error) }, 'tidying up failed; it is tried again in an hour');
    }
  }

  /** After a failure nothing is known about D1 any more. */
  async #forgettingOnError<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#state = null;
      throw error;
    }
  }

  get #token(): number {
    if (this.#fencingToken === null) throw new Error('claim() comes before publish()');
    return this.#fencingToken;
  }
}

/** The manifest too: a row that was tampered with is no publication of this version. */
function isSame(publication: PublishedManifest | null, { encoded, signature }: Wanted): boolean {
  const { version, manifest } = encoded;
  if (publication?.version !== version) return false;
  return publication.signature === signature && publication.manifest === manifest;
}
