import { compareText } from '../../snapshot/precedence.ts';
import type { ObjectRef, Problem, ProblemReason } from '../../snapshot/types.ts';

/** Collects what is wrong. One mistake found on several ways is one problem. */
export class Problems {
  readonly #byText = new Map<string, Problem>();

  constructor(found: readonly Problem[] = []) {
    for (const problem of found) this.#keep(problem);
  }

  add({ kind, namespace, name }: ObjectRef, reason: ProblemReason, message: string): void {
    this.#keep({ object: { kind, namespace, name }, reason, message });
  }

  /** By object, reason and message: the same for every order in which they were found. */
  sorted(): readonly Problem[] {
    return [...this.#byText.entries()].sort(([a], [b]) => compareText(a, b)).map(([, it]) => it);
  }

  #keep(problem: Problem): void {
    const { object, reason, message } = problem;
    const key = [object.kind, object.namespace, object.name, reason, message].join('\u0000');
    this.#byText.set(key, problem);
  }
}
