import type { Hostname, Problem } from '../../snapshot/types.ts';
import type { ClusterState } from '../cluster-state.ts';
import { type Compilation, compile } from '../compile.ts';
import { refOf } from '../kubernetes/objects.ts';
import type { Certificate } from './certificate.ts';
import type { CompileOptions } from './options.ts';
import { Problems } from './problems.ts';
import { OTHERWISE, type TlsCandidate, type TlsClaim, type TlsPlan } from './tls.ts';

/** A compilation with what depends on the time of day: which certificates are valid. */
export interface TimedCompilation extends Compilation {
  /** What each TLS host is served with now: of each type of key the best one that is valid. */
  readonly certificates: ReadonlyMap<Hostname, readonly Certificate[]>;
}

/** A certificate that ends sooner is a problem: cert-manager renews 30 days before. */
const EXPIRING_MS = 21 * 24 * 60 * 60_000;

/**
 * {@link compile}, and then what the clock says to it: everything but the snapshot. Time goes on
 * although nothing changes; the loop's resync looks again.
 * @param found problems that were found elsewhere, to be told with the others
 */
export function compileAt(
  state: ClusterState,
  options: CompileOptions,
  nowMs: number,
  found: readonly Problem[] = [],
): TimedCompilation {
  const compilation = compile(state, options);
  const problems = new Problems([...compilation.problems, ...found]);
  const certificates = certificatesAt(compilation.tls, nowMs, problems);
  return { ...compilation, certificates, problems: problems.sorted() };
}

function certificatesAt(
  { claims, hosts }: TlsPlan,
  nowMs: number,
  problems: Problems,
): TimedCompilation['certificates'] {
  for (const claim of claims) {
    if (claim.certificate) report(claim, claim.certificate, nowMs, problems);
  }
  return new Map(hosts.map((it) => [it.hostname, served(it.candidates, nowMs)]));
}

/** The first that is valid for each type of key. */
function served(candidates: readonly TlsCandidate[], nowMs: number): readonly Certificate[] {
  const byType = new Map<Certificate['keyType'], Certificate>();
  for (const { certificate } of candidates) {
    const { keyType, notBeforeMs, notAfterMs } = certificate;
    const isValid = notBeforeMs <= nowMs && nowMs <= notAfterMs;
    if (isValid && !byType.has(keyType)) byType.set(keyType, certificate);
  }
  return [...byType.values()];
}

function report(
  { ingress, field, secretName }: TlsClaim,
  { notBeforeMs, notAfterMs }: Certificate,
  nowMs: number,
  problems: Problems,
): void {
  const what = `${field}.secretName: the certificate of Secret ${ingress.namespace}/${secretName}`;
  const ref = refOf(ingress);
  if (nowMs > notAfterMs) {
    const message = `${what} expired at ${timeText(notAfterMs)}; ${OTHERWISE}`;
    problems.add(ref, 'SecretInvalid', message);
  } else if (nowMs < notBeforeMs) {
    const message = `${what} is not valid before ${timeText(notBeforeMs)}; ${OTHERWISE}`;
    problems.add(ref, 'SecretInvalid', message);
  } else if (notAfterMs - nowMs <= EXPIRING_MS) {
    const message = `${what} expires at ${timeText(notAfterMs)} and was not renewed yet`;
    problems.add(ref, 'CertificateExpiring', message);
  }
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
