import type { Sha256 } from '../snapshot/types.ts';
import type { ChangeSummary } from './plan.ts';

/** What came of it, by the pointer; `version` is always the one that was to be published. */
export type PublishResult =
  /** The pointer named this version already. */
  | { readonly outcome: 'unchanged'; readonly version: Sha256 }
  | {
      readonly outcome: 'published';
      readonly version: Sha256;
      /** What the pointer named before; empty the first time. */
      readonly replaced: Sha256 | '';
      readonly shardsWritten: number;
      /** `null` when there is nothing to compare with: we have just begun to publish. */
      readonly changes: ChangeSummary | null;
    }
  /** All is written but the pointer stays, since a person pinned it. */
  | { readonly outcome: 'pinned'; readonly version: Sha256; readonly serving: Sha256 | '' }
  /** Somebody newer publishes for this cluster; nothing was moved and nothing will be. */
  | { readonly outcome: 'deposed'; readonly version: Sha256; readonly fencingToken: number };

/** The pointer is decided but something after it failed; publishing again makes up for it. */
export class UnfinishedPublication extends Error {
  override readonly name = 'UnfinishedPublication';
  readonly result: PublishResult;

  constructor(result: PublishResult, cause: unknown) {
    super(`${result.outcome}, but ${cause instanceof Error ? cause.message : cause}`, { cause });
    this.result = result;
  }
}
