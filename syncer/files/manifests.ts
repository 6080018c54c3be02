import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

const MANIFEST = /\.(ya?ml|json)$/;

/** A path the user gave that cannot be used; the message is one line for the terminal. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
}

/**
 * The manifest files under the given files and folders, each once however many links lead to it,
 * and the folders in which a change can add or remove one.
 * @throws ManifestError for a path that does not exist.
 */
export function findManifests(paths: readonly string[]): {
  readonly files: readonly string[];
  readonly folders: readonly string[];
} {
  const files = new Map<string, string>();
  const folders = new Set<string>();
  const visit = (path: string) => {
    const real = realpathSync(path);
    if (!statSync(real).isDirectory()) {
      if (!files.has(real)) files.set(real, path);
      return;
    }
    if (folders.has(real)) return;
    folders.add(real);
    for (const entry of readdirSync(path, { withFileTypes: true }).sort(byName)) {
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
      const child = join(path, entry.name);
      if (entry.isDirectory() || MANIFEST.test(entry.name)) visitIfThere(child);
    }
  };
  const visitIfThere = (path: string) => {
    try {
      visit(path);
    } catch (error) {
      // Removed between listing and reading: the next change of the folder tells.
      if (!isMissing(error)) throw error;
    }
  };
  for (const path of paths) {
    try {
      visit(path);
    } catch (error) {
      if (isMissing(error)) throw new ManifestError(`${path}: no such file or folder`);
      throw error;
    }
  }
  return { files: [...files.values()], folders: [...folders] };
}

/**
 * The objects of one file, `List`s taken apart.
 * @throws ManifestError with file, line and cause when the file is no YAML.
 */
export function readManifest(file: string): readonly unknown[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ManifestError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error) {
      const line = error.linePos?.[0].line;
      const [what] = error.message.split(/ at line | in "|\n/);
      throw new ManifestError(`${file}${line ? `:${line}` : ''}: ${what}`);
    }
    return items(document.toJS({ maxAliasCount: 100 }));
  });
}

function items(value: unknown): readonly unknown[] {
  if (value === null || value === undefined) return [];
  const list = value as { kind?: unknown; items?: unknown };
  if (typeof list.kind === 'string' && list.kind.endsWith('List') && Array.isArray(list.items)) {
    return list.items.flatMap(items);
  }
  return [value];
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === 'ENOENT' || code === 'ELOOP';
}
