import type { Problem } from '../../snapshot/types.ts';
import type { Decoded } from './decode.ts';
import { sameEntry } from './entry.ts';
import type { KubernetesObject } from './objects.ts';

type Difference = (before: Decoded | undefined, after: Decoded | undefined) => void;

/** What one watch has seen, decoded, by `namespace/name`. */
export class ObjectStore {
  readonly #onDifference: Difference;
  #entries: Map<string, Decoded> = new Map();

  /** @param onDifference is told of each entry that differs, before the method that did it returns. */
  constructor(onDifference: Difference = () => {}) {
    this.#onDifference = onDifference;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Everything at once: until then readers see the old set. Returns whether anything differs. */
  replace(entries: Map<string, Decoded>): boolean {
    const before = this.#entries;
    this.#entries = entries;
    let changed = false;
    for (const key of new Set([...before.keys(), ...entries.keys()])) {
      changed = this.#compare(before.get(key), entries.get(key)) || changed;
    }
    return changed;
  }

  /** `undefined` deletes. Returns whether anything differs. */
  set(key: string, after: Decoded | undefined): boolean {
    const before = this.#entries.get(key);
    if (after) this.#entries.set(key, after);
    else this.#entries.delete(key);
    return this.#compare(before, after);
  }

  *objects(): Generator<KubernetesObject> {
    for (const entry of this.#entries.values()) if (entry.ok) yield* entry.objects;
  }

  *problems(): Generator<Problem> {
    for (const entry of this.#entries.values()) if (!entry.ok) yield entry.problem;
  }

  #compare(before: Decoded | undefined, after: Decoded | undefined): boolean {
    if (before === after || (before && after && sameEntry(before, after))) return false;
    this.#onDifference(before, after);
    return true;
  }
}
