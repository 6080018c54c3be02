import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Document, LineCounter, parseAllDocuments, visit } from 'yaml';

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
      const what = isMissing(error) ? 'no such file or folder' : messageOf(error);
      throw new ManifestError(`${path}: ${what}`);
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
    throw new ManifestError(`${file}: ${messageOf(error)}`);
  }
  const lines = new LineCounter();
  // `merge` as the YAML of Kubernetes' own tools has it.
  return parseAllDocuments(text, { merge: true, lineCounter: lines }).flatMap((document) => {
    const found = mistake(document, lines);
    if (found) throw new ManifestError(`${file}:${found.line}: ${found.what}`);
    try {
      return items(document.toJS({ maxAliasCount: 100 }));
    } catch {
      throw new ManifestError(`${file}: its aliases unfold to too much`);
    }
  });
}

/** The first thing that is no YAML. The parser's text is cut where it quotes: it may be a secret. */
function mistake(document: Document.Parsed, lines: LineCounter) {
  const [error] = document.errors;
  if (error) {
    const [what = ''] = error.message.split(/ at line | in YAML stream|(?<! ): |\n/);
    return { line: error.linePos?.[0].line ?? 1, what };
  }
  let offset: number | null = null;
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document)) return undefined;
      offset = alias.range?.[0] ?? 0;
      return visit.BREAK;
    },
  });
  if (offset === null) return null;
  // Without the quotes that a wildcard host needs, this is what one becomes.
  const what =
    '"*" begins an alias that is not defined; put a value such as *.example.com in quotes';
  return { line: lines.linePos(offset).line, what };
}

function items(value: unknown): readonly unknown[] {
  if (value === null || value === undefined) return [];
  const list = value as { apiVersion?: unknown; kind?: unknown; items?: unknown };
  if (typeof list.kind === 'string' && list.kind.endsWith('List') && Array.isArray(list.items)) {
    const kind = list.kind.slice(0, -'List'.length);
    // The API leaves out of a typed list's items what the list's own type says.
    const type = kind === '' ? {} : { apiVersion: list.apiVersion, kind };
    return list.items.flatMap((item) => items(isObject(item) ? { ...type, ...item } : item));
  }
  return [value];
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === 'ENOENT' || code === 'ELOOP';
}
