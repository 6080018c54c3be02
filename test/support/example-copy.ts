import {
  cpSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));

/**
 * The examples in a folder of their own, which is in no git repository. Their node ports are
 * changed to some that are free, as they stand for themselves on every machine.
 */
export class ExampleCopy implements Disposable {
  /** An empty folder to run in. */
  readonly cwd: string;
  readonly path: string;

  static async make(): Promise<ExampleCopy> {
    const copy = new ExampleCopy();
    const ports = new Map<string, number>();
    for (const file of copy.#files(copy.path)) {
      const text = readFileSync(file, 'utf8');
      for (const [port] of text.matchAll(NODE_PORT)) {
        if (!ports.has(port)) ports.set(port, await freePort());
      }
      writeFileSync(
        file,
        text.replaceAll(NODE_PORT, (port) => String(ports.get(port))),
      );
    }
    return copy;
  }

  private constructor() {
    this.cwd = mkdtempSync(join(tmpdir(), 'causeway-cli-'));
    this.path = join(this.cwd, 'examples');
    // Links stay links: that is what they are there for.
    cpSync(EXAMPLES, this.path, { recursive: true, verbatimSymlinks: true });
  }

  file(...path: readonly string[]): string {
    return join(this.path, ...path);
  }

  [Symbol.dispose](): void {
    rmSync(this.cwd, { recursive: true, force: true });
  }

  #files(folder: string): readonly string[] {
    return readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      const stat = lstatSync(path);
      if (stat.isDirectory()) return this.#files(path);
      return stat.isFile() ? [path] : [];
    });
  }
}

/** The node ports that the examples name. */
const NODE_PORT = /\b30(?:0[89]|10)\d\b/g;
