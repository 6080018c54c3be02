import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caseFiles, readCases, SHARED_CASES } from './support/cases/case-file.ts';
import { CaseRunner } from './support/cases/case-runner.ts';

/**
 * Cases of basis `impl:…` in which the design wants something else, with its reason. A case that
 * passes must not be here.
 */
const DIFFERENT_BY_DESIGN: ReadonlyMap<string, string> = new Map([
  [
    'duplicate-path-same-age-tie',
    'of two Ingresses of one age the first by namespace/name wins, as in the Gateway API',
  ],
  ['hsts-max-age', 'HSTS is for names below the host only if asked for: it cannot be taken back'],
]);

/** Of files that are about more than what there is, those cases that are about TLS. */
const ABOUT_TLS: ReadonlyMap<string, readonly string[]> = new Map([
  [
    'nginx-redirects.yaml',
    [
      'ssl-redirect-by-default-when-tls-is-configured-secret-missing',
      'ssl-redirect-false',
      'preserve-trailing-slash',
    ],
  ],
  ['nginx-upstream-and-more.yaml', ['hsts-max-age', 'hsts-preload']],
]);

const files = [...caseFiles('ingress-'), ...caseFiles('nginx-').filter((it) => ABOUT_TLS.has(it))];
const casesOf = (file: string) => readCases(file, ABOUT_TLS.get(file));

describe.skipIf(files.length === 0)('cases taken from the suites of peers', () => {
  let runner: CaseRunner;
  const passed = { spec: 0, impl: 0 };
  const total = { spec: 0, impl: 0 };

  beforeAll(async () => {
    runner = await CaseRunner.start();
  });

  afterAll(async () => {
    await runner?.[Symbol.asyncDispose]();
    const listed = DIFFERENT_BY_DESIGN.size;
    console.log(
      `shared cases: spec ${passed.spec}/${total.spec}, impl ${passed.impl}/${total.impl}, ${listed} different by design`,
    );
  });

  for (const file of files) {
    describe(file, () => {
      for (const each of casesOf(file)) {
        const basis = each.basis === 'spec' ? 'spec' : 'impl';
        total[basis] += 1;
        it(each.name, async () => {
          const verdict = await runner.run(each);
          if (basis === 'impl' && DIFFERENT_BY_DESIGN.has(each.name)) {
            expect(verdict, 'it passes: take it off the list').not.toEqual([]);
            return;
          }
          expect(verdict).toEqual([]);
          passed[basis] += 1;
        });
      }
    });
  }

  it('lists no case that does not exist', () => {
    const names = new Set(files.flatMap(casesOf).map((each) => each.name));
    expect([...DIFFERENT_BY_DESIGN.keys()].filter((name) => !names.has(name))).toEqual([]);
  });
});

if (files.length === 0) console.warn(`no shared cases at ${SHARED_CASES}: skipped`);
