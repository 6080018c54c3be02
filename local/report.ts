import { PROBLEM_REASONS, type Problem, type Severity } from '../snapshot/types.ts';
import type { TimedCompilation } from '../syncer/compile/validity.ts';
import type { Compilation } from '../syncer/compile.ts';
import { describeRef, refOf } from '../syncer/kubernetes/objects.ts';
import type { Explanation } from './explain.ts';

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'note'];

export function severityOf(problem: Problem): Severity {
  return PROBLEM_REASONS[problem.reason];
}

export function countRoutes({ snapshot }: Pick<Compilation, 'snapshot'>): number {
  return snapshot.virtualHosts.reduce(
    (sum, { routes, defaultBackend }) => sum + routes.length + (defaultBackend ? 1 : 0),
    0,
  );
}

/** What `causeway check` prints. */
export function reportText(compilation: TimedCompilation): string {
  const { certificates, ignored, problems } = compilation;
  const sections = [`ROUTES\n${routesTable(compilation)}`];
  if (certificates.size > 0) sections.push(`CERTIFICATES\n${certificatesTable(certificates)}`);
  if (ignored.length > 0) {
    const rows = ignored.map(({ ingress, because }) => [describeRef(refOf(ingress)), because]);
    sections.push(`NOT OURS\n${table(rows)}`);
  }
  sections.push(problemsText(problems));
  return `${sections.join('\n\n')}\n`;
}

export function problemsText(problems: readonly Problem[]): string {
  const counts = SEVERITIES.map((severity) => {
    const count = problems.filter((it) => severityOf(it) === severity).length;
    return `${count} ${severity}${count === 1 ? '' : 's'}`;
  });
  const rows = [...problems]
    .sort((a, b) => SEVERITIES.indexOf(severityOf(a)) - SEVERITIES.indexOf(severityOf(b)))
    .map(
      (it) =>
        `${severityOf(it).padEnd(8)}${it.reason}  ${describeRef(it.object)}\n          ${it.message}`,
    );
  return [`PROBLEMS  ${counts.join(', ')}`, ...rows].join('\n');
}

/** What `causeway check --output json` prints. */
export function reportJson(compilation: TimedCompilation): object {
  const { snapshot, certificates, ignored, problems } = compilation;
  return {
    virtualHosts: snapshot.virtualHosts,
    upstreams: snapshot.upstreams,
    certificates: [...certificates].map(([hostname, served]) => ({
      hostname,
      served: served.map(({ secret, keyType, names, fingerprint, notAfterMs }) => {
        return { secret, keyType, names, fingerprint, notAfter: new Date(notAfterMs) };
      }),
    })),
    ignored: ignored.map(({ ingress, because }) => ({ ingress: refOf(ingress), because })),
    problems: problems.map((it) => ({ severity: severityOf(it), ...it })),
  };
}

export function explanationText(it: Explanation): string {
  const lines = [it.url, `  ${it.summary}`];
  if (it.winner) lines.push(`  by ${it.winner.claim}: ${it.winner.rule}`);
  if (it.losers.length > 0) lines.push('', 'Why not the others:');
  for (const loser of it.losers) {
    lines.push(`  ${loser.claim}: ${loser.rule} -> ${loser.upstream}`, `      ${loser.because}`);
  }
  return `${lines.join('\n')}\n`;
}

function routesTable({ snapshot }: Compilation): string {
  const endpoints = new Map(
    snapshot.upstreams.map((it) => [it.name, it.endpoints.map((e) => `${e.host}:${e.port}`)]),
  );
  const rows = snapshot.virtualHosts.flatMap(({ hostname, routes, defaultBackend }) => {
    const row = (path: string, upstream: string, source: Parameters<typeof describeRef>[0]) => {
      const dialled = endpoints.get(upstream) ?? [];
      return [hostname, path, upstream, dialled.join(' ') || '(503: none)', describeRef(source)];
    };
    return [
      ...routes.map((it) => row(`${it.match.type} ${it.match.path}`, it.upstream, it.source)),
      ...(defaultBackend ? [row('(default)', defaultBackend.upstream, defaultBackend.source)] : []),
    ];
  });
  if (rows.length === 0) return '(none)';
  return table([['HOST', 'PATH', 'SERVICE', 'ENDPOINTS', 'ASKED FOR BY'], ...rows]);
}

function certificatesTable(certificates: TimedCompilation['certificates']): string {
  const rows = [...certificates].flatMap(([hostname, served]) => {
    if (served.length === 0) return [[hostname, '(none that can be served)', '', '']];
    return served.map(({ secret, keyType, notAfterMs }) => [
      hostname,
      keyType,
      describeRef(secret),
      new Date(notAfterMs).toISOString().slice(0, 10),
    ]);
  });
  return table([['HOST', 'KEY', 'FROM', 'VALID UNTIL'], ...rows]);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}
