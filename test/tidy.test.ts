import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  COMPUTED_IMPORT,
  exists,
  functionSpans,
  isSource,
  ROOT,
  reachable,
  readSource,
  repositoryFiles,
  type Source,
} from './support/sources.ts';

// The laws of the house that neither the compiler nor the linter keeps. Each test lists what breaks
// its law, so that the message is the list.

const FILES = repositoryFiles();
const SOURCES = new Map(FILES.filter(isSource).map((path) => [path, readSource(path)]));
const HALVES = within('snapshot/', 'syncer/', 'worker/', 'local/');

function within(...folders: readonly string[]): readonly Source[] {
  return [...SOURCES.values()].filter(({ path }) => folders.some((it) => path.startsWith(it)));
}

/** `file -> specifier` for every import of these files that may not be there. */
function forbidden(
  sources: readonly Source[],
  isAllowed: (specifier: string, path: string | null) => boolean,
): readonly string[] {
  return sources.flatMap(({ path, imports }) =>
    imports
      .filter((it) => !isAllowed(it.specifier, it.path))
      .map((it) => `${path} -> ${it.specifier}`),
  );
}

const inFolder = (path: string | null, ...folders: readonly string[]) =>
  path === null || folders.some((folder) => path.startsWith(folder));

describe('who imports whom', () => {
  test('snapshot/ imports itself and, for the tables, drizzle', () => {
    const isAllowed = (specifier: string, path: string | null) =>
      path === null ? specifier.startsWith('drizzle-orm/') : inFolder(path, 'snapshot/');
    expect(forbidden(within('snapshot/'), isAllowed)).toEqual([]);
  });

  test('syncer/ imports snapshot/ and nothing of the worker', () => {
    expect(
      forbidden(within('syncer/'), (_, path) => inFolder(path, 'syncer/', 'snapshot/')),
    ).toEqual([]);
  });

  test('worker/ imports snapshot/, nothing of the syncer and nothing of Node', () => {
    const isAllowed = (specifier: string, path: string | null) =>
      !specifier.startsWith('node:') && inFolder(path, 'worker/', 'snapshot/');
    // workerd reads certificates itself; a library for it would weigh more than the worker.
    const exempt = new Set(['worker/tls/authorities.ts -> node:crypto']);
    const found = forbidden(within('worker/'), isAllowed).filter((it) => !exempt.has(it));
    expect(found).toEqual([]);
  });

  test('local/ may import both, and its workers run where there is no Node', () => {
    const ours = ['local/', 'syncer/', 'worker/', 'snapshot/', 'migrations', 'package.json'];
    expect(forbidden(within('local/'), (_, path) => inFolder(path, ...ours))).toEqual([]);
    // workerd has AsyncLocalStorage and X509Certificate itself.
    const isInWorkerd = /^(?!node:)|^node:(async_hooks|crypto)$/;
    const isAllowed = (specifier: string, path: string | null) =>
      isInWorkerd.test(specifier) && inFolder(path, 'local/workers/', 'worker/', 'snapshot/');
    expect(forbidden(within('local/workers/'), isAllowed)).toEqual([]);
  });

  test('modules are named in full, by a text that can be read', () => {
    const all = [...SOURCES.values()];
    const incomplete = all.flatMap(({ path, imports }) =>
      imports
        .filter((it) => !it.isPlace && it.path !== null && !exists(it.path))
        .map((it) => `${path} -> ${it.specifier}`),
    );
    const computed = HALVES.flatMap(({ path, code }) =>
      [...code.matchAll(COMPUTED_IMPORT)].map(([found]) => `${path}: ${found}`),
    );
    expect([...incomplete, ...computed]).toEqual([]);
  });

  test('packages that are imported are dependencies', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const builtIn = /^(node|cloudflare):/;
    const known = (specifier: string) =>
      Object.keys(dependencies).some((it) => `${specifier}/`.startsWith(`${it}/`));
    const runtime = within('snapshot/', 'syncer/', 'worker/', 'bin/');
    expect(
      forbidden(runtime, (it, path) => path !== null || builtIn.test(it) || known(it)),
    ).toEqual([]);
  });
});

/** Files that are functions of their arguments, and what of Node they may import. */
const PURE: ReadonlyMap<string, readonly string[]> = new Map([
  ['snapshot/', []],
  ['syncer/compile.ts', []],
  // X509Certificate, createPrivateKey and createSecureContext read what they are given.
  ['syncer/compile/', ['node:crypto', 'node:tls']],
  // Only `isIP`, which reads a text.
  ['syncer/compile/option-table.ts', ['node:net']],
  // Only `isDeepStrictEqual`.
  ['syncer/compile/upstreams.ts', ['node:util']],
  ['syncer/cluster-state.ts', []],
  ['syncer/kubernetes/decode.ts', []],
  ['syncer/kubernetes/decode-ingress.ts', []],
  ['syncer/kubernetes/label-selector.ts', []],
  ['syncer/kubernetes/objects.ts', []],
  ['syncer/kubernetes/references.ts', []],
  ['syncer/kubernetes/schema.ts', []],
  ['syncer/plan.ts', []],
  ['syncer/quoted.ts', []],
  ['syncer/some-of.ts', []],
  // The symbol by which `inspect` asks.
  ['syncer/secret-text.ts', ['node:util']],
  ['worker/balance.ts', []],
  ['worker/header-text.ts', []],
  ['worker/headers.ts', []],
  ['worker/https-location.ts', []],
  ['worker/http1/chunked-decoder.ts', []],
  ['worker/http1/chunked-encoder.ts', []],
  ['worker/http1/field-lines.ts', []],
  ['worker/http1/framing.ts', []],
  ['worker/http1/grammar.ts', []],
  ['worker/http1/header-names.ts', []],
  ['worker/http1/limits.ts', []],
  ['worker/http1/line-reader.ts', []],
  ['worker/http1/protocol-error.ts', []],
  ['worker/http1/request-error.ts', []],
  ['worker/http1/response-head.ts', []],
  ['worker/request-url.ts', []],
  ['worker/routing-table.ts', []],
  // X509Certificate reads what it is given.
  ['worker/tls/authorities.ts', ['node:crypto']],
  ['worker/tls/client-policy.ts', []],
  ['worker/tls/distinguished-name.ts', []],
  ['worker/tls/presented-certificate.ts', []],
  ['worker/tls/trusted-clients.ts', []],
  ['worker/websocket/frames.ts', []],
  ['worker/websocket/protocol-error.ts', []],
]);

const IMPURE = [
  /\bDate\.now\b/,
  /\bnew Date\(\s*\)/,
  /(?<!new )\bDate\(/,
  /\bperformance\b\s*\./,
  /\bMath\.random\b/,
  /\bprocess\s*\./,
  /\bconsole\s*\./,
  /\bfetch\s*\(/,
  /\bset(Timeout|Interval|Immediate)\b/,
  /\b(getRandomValues|randomUUID|generateKey)\b/,
  /\bglobalThis\b/,
];

describe('pure files', () => {
  const isPure = (path: string) => [...PURE.keys()].some((it) => path.startsWith(it));
  const sources = HALVES.filter(({ path }) => isPure(path));

  test('are there', () => {
    const missing = [...PURE.keys()].filter((it) => !sources.some((s) => s.path.startsWith(it)));
    expect(missing).toEqual([]);
  });

  test('touch neither clock nor chance nor the outside', () => {
    const found = sources.flatMap(({ path, code }) => {
      // Making a key takes chance; it is the one function of snapshot/ that does.
      const judged = path === 'snapshot/signature.ts' ? without(code, 'generateKeyPair') : code;
      return IMPURE.flatMap((it) => judged.match(it) ?? []).map((it) => `${path}: ${it}`);
    });
    expect(found).toEqual([]);
  });

  test('import pure files only', () => {
    const found = sources.flatMap(({ path, imports }) => {
      const allowed = [...PURE].flatMap(([it, modules]) => (path.startsWith(it) ? modules : []));
      return imports
        .filter(({ isType, specifier, path: target }) => {
          if (isType || target === null) {
            return specifier.startsWith('node:') && !isType && !allowed.includes(specifier);
          }
          return !isPure(target);
        })
        .map(({ specifier }) => `${path} -> ${specifier}`);
    });
    expect(found).toEqual([]);
  });

  function without(code: string, name: string): string {
    const start = code.indexOf(`function ${name}(`);
    return start < 0 ? code : code.slice(0, start) + code.slice(code.indexOf('\n}\n', start));
  }
});

describe('size', () => {
  test('a file has at most 300 lines', () => {
    const found = HALVES.map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }));
    expect(found.filter(({ lines }) => lines > 300)).toEqual([]);
  });

  test('a function has at most 70 lines', () => {
    const found = HALVES.flatMap(({ path, text }) =>
      functionSpans(text)
        .filter(({ length }) => length > 70)
        .map(({ line, length }) => `${path}:${line} has ${length}`),
    );
    expect(found).toEqual([]);
  });

  test('the measure of functions is right', () => {
    const text =
      'function a(\n  b: string,\n): void {\n  if (b) {\n  }\n}\n\nconst c = () => {\n};\n';
    expect(functionSpans(text)).toEqual([
      { line: 1, length: 6 },
      { line: 8, length: 2 },
    ]);
  });
});

describe('what lies about', () => {
  test('every source file is reached from an entry', () => {
    const entries = [
      'bin/causeway.mjs',
      'worker/index.ts',
      'drizzle.config.ts',
      ...FILES.filter((path) => /^local\/workers\/[^/]+\.ts$/.test(path)),
    ];
    const reached = reachable(SOURCES, entries);
    const dead = HALVES.filter(({ path }) => !reached.has(path) && !path.endsWith('.d.ts'));
    expect(dead.map(({ path }) => path)).toEqual([]);
  });

  test('no file is named for what is homeless', () => {
    const homeless = /^(.*[-.])?(utils?|helpers?|common|managers?|misc|shared)([-.].*)?$/;
    // cert-manager is a name that others gave.
    const found = FILES.filter((path) =>
      path.split('/').some((part) => homeless.test(part.replace('cert-manager', ''))),
    );
    // A test may tell of what is shared.
    expect(found.filter((path) => !basename(path).endsWith('.test.ts'))).toEqual([]);
  });

  test('no note to do later, and no path of one machine', () => {
    // Put together here, so that this file may be read as well.
    const marks = new RegExp(
      ['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].map((it) => `\\b${it}\\b`).join('|'),
    );
    const paths = new RegExp(`(^|[\\s"'\`(=:])/(wo${'rk'}|ro${'ot'}|ho${'me'}|Us${'ers'})/`);
    const found = FILES.filter((path) => /\.(ts|tsx|mjs|js|json|ya?ml|md|sh|toml|sql)$/.test(path))
      .filter((path) => path !== 'package-lock.json')
      .flatMap((path) => {
        const lines = readFileSync(join(ROOT, path), 'utf8').split('\n');
        return lines.flatMap((line, index) =>
          marks.test(line) || paths.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
        );
      });
    expect(found).toEqual([]);
  });
});

describe('the lock file', () => {
  const text = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const packages = Object.keys(JSON.parse(text).packages);

  test('names no registry, so that any will do', () => {
    expect(text).not.toMatch(/"resolved"/);
  });

  test('has one workerd: the tests run what is deployed', () => {
    expect(packages.filter((it) => it.endsWith('node_modules/workerd'))).toEqual([
      'node_modules/workerd',
    ]);
    const installed = readFileSync(join(ROOT, 'node_modules/.package-lock.json'), 'utf8');
    expect(
      Object.keys(JSON.parse(installed).packages).filter((it) =>
        it.endsWith('node_modules/workerd'),
      ),
    ).toEqual(['node_modules/workerd']);
  });
});
