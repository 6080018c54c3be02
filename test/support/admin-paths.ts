import { readFileSync } from 'node:fs';

/** Every path of the admin API, from the source: its module can be loaded by the worker only. */
export function adminPaths(): readonly string[] {
  const source = readFileSync(new URL('../../worker/admin.ts', import.meta.url), 'utf8');
  const paths = [...source.matchAll(/^admin\.get\('([^']+)'/gm)].flatMap(([, path = '']) => [path]);
  if (!paths.includes('/api/routes')) throw new Error('worker/admin.ts is written in another way');
  return paths;
}
