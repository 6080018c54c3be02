import {
  type ObjectRef,
  PROBLEM_REASONS,
  type Problem,
  type ProblemReason,
  type Severity,
} from '../snapshot/types.ts';
import type { JudgedClaim } from './compile/merge.ts';
import type { Compilation } from './compile.ts';
import { describeRef, type Ingress, type KubernetesObject, refOf } from './kubernetes/objects.ts';
import { showsEdge } from './status.ts';

/** One Event to be, about one object. */
export interface Notice {
  readonly object: ObjectRef;
  /** Empty where the object could not be read. */
  readonly uid: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  /** What we were doing (`Event.action`). */
  readonly action: 'Compile' | 'Publish';
  /** One sentence, at most {@link NOTE_BYTES_MAX}. */
  readonly note: string;
}

/** What the API server takes. */
const NOTE_BYTES_MAX = 1024;

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'note'];

/**
 * One for each problem on the object that can mend it, worst first; and on the Ingresses of ours that
 * name it, if it is a Service or Secret: who looks at an Ingress must not have to know where else to
 * look.
 */
export function problemNotices(compilation: Compilation): readonly Notice[] {
  const { problems, state } = compilation;
  const askers = askersOf(compilation);
  const { problems: _, ...lists } = state;
  const objects: readonly KubernetesObject[] = Object.values(lists).flat();
  const uids = new Map(objects.map((it) => [describeRef(refOf(it)), it.uid]));
  return [...problems].sort(bySeverity).flatMap((problem): readonly Notice[] => {
    const asking = askers(problem);
    const uid = uids.get(describeRef(problem.object)) ?? '';
    const own = mayBeTold(problem, uid, asking) ? [noticeOf(problem, problem.object, uid)] : [];
    return [...own, ...asking.map((it) => noticeOf(problem, refOf(it), it.uid))];
  });
}

/** Whether the object is there and concerns us: of others' broken objects others may speak. */
function mayBeTold({ object }: Problem, uid: string, asking: readonly Ingress[]): boolean {
  return uid !== '' || object.kind === 'Ingress' || asking.length > 0;
}

function noticeOf({ object, reason, message }: Problem, target: ObjectRef, uid: string): Notice {
  const isElsewhere = target.kind !== object.kind || target.name !== object.name;
  const names = message.includes(`${object.namespace}/${object.name}`);
  return {
    object: target,
    uid,
    type: PROBLEM_REASONS[reason] === 'note' ? 'Normal' : 'Warning',
    reason,
    action: 'Compile',
    note: shortened(isElsewhere && !names ? `${describeRef(object)}: ${message}` : message),
  };
}

function bySeverity(a: Problem, b: Problem): number {
  const rank = ({ reason }: Problem) => SEVERITIES.indexOf(PROBLEM_REASONS[reason]);
  return rank(a) - rank(b);
}

/** Where these are, there is nobody to send requests to. */
const WITHOUT_ENDPOINTS: ReadonlySet<ProblemReason> = new Set([
  'ExternalNameDisabled',
  'NoEndpoints',
  'ServiceNotExposed',
]);

/**
 * The Ingresses of ours that name the Service or Secret of a problem. A Service may be without
 * endpoints on one port, or for one class, and well on another: who uses that is not told.
 */
function askersOf({ claims, tls, snapshot }: Compilation) {
  const empty = new Set(snapshot.upstreams.flatMap((it) => (it.endpoints.length ? [] : [it.name])));
  const key = (namespace: string, name: string) => `${namespace}/${name}`;
  const byService = Map.groupBy(claims, (it) => key(it.ingress.namespace, it.backend.service));
  const bySecret = Map.groupBy(tls.claims, (it) => key(it.ingress.namespace, it.secretName));
  return ({ object, reason }: Problem): readonly Ingress[] => {
    const name = key(object.namespace, object.name);
    const secrets = object.kind === 'Secret' ? (bySecret.get(name) ?? []) : [];
    const services = object.kind === 'Service' ? (byService.get(name) ?? []) : [];
    const affected = services.filter(
      (it) => !WITHOUT_ENDPOINTS.has(reason) || empty.has(it.upstream),
    );
    return [...new Set([...affected, ...secrets].map((it) => it.ingress))];
  };
}

/** By uid of our Ingresses: their routes, to be compared. */
export type Digests = ReadonlyMap<string, string>;

/**
 * `Synced` for each Ingress whose own routes are not what they were at the publication before; an
 * upstream that got its first endpoint or lost its last counts, the many changes between do not.
 * @param before `null` when none is known: then for those only that nobody has told yet
 */
export function syncedNotices(
  compilation: Compilation,
  version: string,
  before: Digests | null,
  isNew: (ingress: Ingress) => boolean,
): { readonly notices: readonly Notice[]; readonly digests: Digests } {
  const { claims, ours, snapshot } = compilation;
  const byIngress = Map.groupBy(claims, (claim) => claim.ingress);
  const reachable = new Set(
    snapshot.upstreams.filter((it) => it.endpoints.length > 0).map((it) => it.name),
  );
  const digests = new Map<string, string>();
  const notices: Notice[] = [];
  for (const { ingress } of ours) {
    const asked = byIngress.get(ingress) ?? [];
    const served = asked.filter(isServed);
    const digest = JSON.stringify(
      served.map((it) => [it.hostname, it.match, it.upstream, reachable.has(it.upstream)]),
    );
    digests.set(ingress.uid, digest);
    const differs = before ? before.get(ingress.uid) !== digest : isNew(ingress);
    if (!differs || served.length === 0) continue;
    const idle = served.filter((it) => !reachable.has(it.upstream)).length;
    const note = syncedNote(asked.length, served.length, idle, version);
    const { uid } = ingress;
    const object = refOf(ingress);
    notices.push({ object, uid, type: 'Normal', reason: 'Synced', action: 'Publish', note });
  }
  return { notices, digests };
}

/** An Ingress that shows the edge's address was synced by somebody before. */
export function wasNeverSynced(
  { options, state }: Compilation,
  nowMs: number,
): (ingress: Ingress) => boolean {
  return (ingress) => {
    const shown = options.map((it) => showsEdge(ingress, it, state.services));
    if (shown.includes(true)) return false;
    if (shown.includes(false)) return true;
    // Where no status is written, age has to do.
    return nowMs - ingress.createdAtMs < YOUNG_MS;
  };
}

const YOUNG_MS = 60_000;

function isServed({ verdict }: JudgedClaim): boolean {
  return verdict.kind === 'won' || verdict.kind === 'same';
}

function syncedNote(asked: number, served: number, idle: number, version: string): string {
  const routes = `${asked} ${asked === 1 ? 'route' : 'routes'}`;
  const what = served === asked ? routes : `${served} of ${routes}`;
  const but = idle === 0 ? '' : `, ${idle} of them without an endpoint to send requests to`;
  return `${what} published with version ${version.slice(0, 12)}${but}`;
}

function shortened(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= NOTE_BYTES_MAX) return text;
  // Half a character at the cut becomes U+FFFD, which is not written.
  const cut = bytes.subarray(0, NOTE_BYTES_MAX - 3).toString('utf8');
  return `${cut.replace(/\uFFFD$/, '')}...`;
}
