import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A folder of a test's own; goes with it. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'causeway-'));

  at(name: string): string {
    return join(this.path, name);
  }

  write(name: string, content: string): string {
    const file = this.at(name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
