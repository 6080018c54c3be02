import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const NOT_OURS = new Set(['node_modules', '.git', 'dist', 'coverage', '.causeway', '.wrangler']);

/** Every file of the repository, by its path from the root. */
export function repositoryFiles(): readonly string[] {
  const visit = (folder: string): readonly string[] =>
    readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
      if (NOT_OURS.has(entry.name)) return [];
      const path = join(folder, entry.name);
      return entry.isDirectory() ? visit(path) : [path];
    });
  return visit('.').toSorted();
}

export interface Source {
  /** From the root: `worker/index.ts`. */
  readonly path: string;
  readonly text: string;
  /** Without comments. */
  readonly code: string;
  readonly imports: readonly Import[];
}

export interface Import {
  /** As it stands in the source. */
  readonly specifier: string;
  /** From the root, for what is ours; null for a package. */
  readonly path: string | null;
  /** Erased before the program runs. */
  readonly isType: boolean;
  /** Named by `new URL`: a module that is run elsewhere, or no module at all. */
  readonly isPlace: boolean;
}

export function readSource(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const code = withoutComments(text);
  const imports = [...code.matchAll(IMPORT)].map((found): Import => {
    const { statement = '', from = '' } = found.groups ?? {};
    const isOurs = from.startsWith('.');
    return {
      specifier: from,
      path: isOurs ? relative(ROOT, join(ROOT, dirname(path), from)) : null,
      isType: /^(import|export)\s+type\b/.test(statement),
      isPlace: statement.startsWith('new URL'),
    };
  });
  return { path, text, code, imports };
}

/** Static and dynamic imports, re-exports, and modules named by their place beside this one. */
const IMPORT =
  /(?<statement>\b(?:import|export)\b[^;'"`()]*?\bfrom\s*|\bimport\s*|\bimport\s*\(\s*|\bimport\s+\w+\s*=\s*require\(\s*|\bnew URL\(\s*)['"](?<from>[^'"]+)['"]/g;

/** What no list of imports can tell: a module whose name is computed. */
export const COMPUTED_IMPORT = /\bimport\s*\(\s*(?!['"])[^)]*\)|\brequire\s*\(/g;

const COMMENT = /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|\/\*[\s\S]*?\*\/|(?<![\\:])\/\/[^\n]*/g;

function withoutComments(text: string): string {
  return text.replace(COMMENT, (_, quoted: string | undefined) => quoted ?? '');
}

/** All that can be reached from these files by imports, themselves included. */
export function reachable(sources: ReadonlyMap<string, Source>, entries: readonly string[]) {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    const imports = sources.get(path)?.imports ?? [];
    for (const it of imports) if (it.path !== null) visit(it.path);
  };
  for (const entry of entries) visit(entry);
  return reached;
}

export function isSource(path: string): boolean {
  return ['.ts', '.tsx', '.mjs'].includes(extname(path));
}

export function exists(path: string): boolean {
  return existsSync(join(ROOT, path));
}

export interface FunctionSpan {
  readonly line: number;
  readonly length: number;
}

/** Functions as the formatter writes them: a head that ends in `{`, and a `}` of its indentation. */
export function functionSpans(code: string): readonly FunctionSpan[] {
  const lines = code.split('\n');
  return lines.flatMap((line, index): readonly FunctionSpan[] => {
    const indent = /^ */.exec(line)?.[0] ?? '';
    if (!line.endsWith('{') || !isFunctionHead(line.trim())) return [];
    const end = lines.findIndex((it, at) => at > index && it.startsWith(`${indent}}`));
    // A head of several lines begins where its indentation was last seen.
    const isTail = line.startsWith(`${indent})`);
    const start = isTail
      ? lines.findLastIndex(
          (it, at) => at < index && /^ *\S.*\($/.test(it) && startsWith(it, indent),
        )
      : index;
    return [{ line: start + 1, length: end - start + 1 }];
  });
}

function startsWith(line: string, indent: string): boolean {
  return line.startsWith(indent) && line[indent.length] !== ' ';
}

function isFunctionHead(line: string): boolean {
  if (/^(\} )?(if|else|for|while|switch|do|try|catch|finally)\b/.test(line)) return false;
  return /=> \{$|\bfunction\b.*\{$|\)(: [^=]+)? \{$/.test(line);
}
