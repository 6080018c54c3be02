import { inspect } from 'node:util';

/**
 * Text that must not be seen: prints `[redacted]` however it is printed, logged or encoded. Only
 * {@link SecretText.reveal} gives it out, so that every use can be found by its name.
 */
export class SecretText {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  get isEmpty(): boolean {
    return this.#text === '';
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return '[redacted]';
  }

  toJSON(): string {
    return '[redacted]';
  }

  [inspect.custom](): string {
    return '[redacted]';
  }
}
