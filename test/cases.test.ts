import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type ClusterState, clusterState } from '../syncer/cluster-state.ts';
import { compileAt } from '../syncer/compile/validity.ts';
import { caseNames, goldenText, readCase } from './support/case.ts';
import { answerText, Published } from './support/published.ts';

// Each folder of test/cases is one situation, and its name says which. `npm run golden` writes what
// the compiler makes of it; whoever commits that has read it.
const REWRITE = process.env.CAUSEWAY_WRITE_GOLDEN === '1';

describe.each(caseNames())('%s', (name) => {
  const { golden, state, options, nowMs, requests } = readCase(name);
  const compilation = compileAt(state, options, nowMs);

  test('compiles to its golden file', () => {
    const text = goldenText(compilation);
    if (REWRITE) writeFileSync(golden, text);
    expect(text).toBe(readFileSync(golden, 'utf8'));
    expect(text).not.toMatch(/PRIVATE KEY|LS0tLS1CRUdJTi/);
  });

  test('says it in text that a terminal and a log can show', () => {
    const { problems, ignored } = compilation;
    const texts = [...problems.map((it) => it.message), ...ignored.map((it) => it.because)];
    expect(texts.filter((it) => /\p{C}/u.test(it) || it.length > 600)).toEqual([]);
  });

  test('serves its requests', async () => {
    const published = await Published.of(compilation.snapshot);
    const answers = requests.map((line) => {
      const [request = ''] = line.split(' -> ');
      const url = request.slice(request.indexOf(' ') + 1);
      return `${request} -> ${answerText(published.match(url))}`;
    });
    expect(answers).toEqual(requests);
  });

  test('does not depend on the order in which objects were read', () => {
    expect(goldenText(compileAt(backwards(state), options, nowMs))).toBe(goldenText(compilation));
  });
});

function backwards({ problems, ...lists }: ClusterState): ClusterState {
  return clusterState(Object.values(lists).flat().toReversed(), problems.toReversed());
}
