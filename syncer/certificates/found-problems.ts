import type { Problem } from '../../snapshot/types.ts';

/**
 * What is found out about objects after their compilation, for the next run to tell with the rest.
 * Whoever finds something else than before wakes the loop.
 */
export class FoundProblems {
  #list: readonly Problem[] = [];
  #text = '[]';

  get list(): readonly Problem[] {
    return this.#list;
  }

  /** @returns whether they are others than before */
  replace(list: readonly Problem[]): boolean {
    const text = JSON.stringify(list);
    if (text === this.#text) return false;
    this.#list = list;
    this.#text = text;
    return true;
  }
}
