import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import { type Decoded, decodeObject } from './decode.ts';
import type { KubernetesKind } from './objects.ts';

const metadata = v.object({
  metadata: v.object({
    // A bookmark's object has no name.
    name: v.nullish(v.string(), ''),
    namespace: v.nullish(v.string(), ''),
    resourceVersion: v.nullish(v.string(), ''),
  }),
});

/** Whether an annotation of an Ingress, by its whole name, can change what is served. */
export type AnnotationFilter = (name: string) => boolean;

/**
 * By domain: Kubernetes' own, those of Ingress controllers, ours and cert-manager's. The others
 * (of kubectl, Argo, Rancher, Helm) are written all the time and mean nothing to routing.
 */
export function isRoutingAnnotation(name: string): boolean {
  const [domain = '', rest] = name.split('/');
  if (rest === undefined || domain === 'kubernetes.io') return true;
  return /(^|\.)ingress\.kubernetes\.io$|causeway|(^|\.)cert-manager\.io$/.test(domain);
}

/** The name of an object in its kind. */
export function keyOf(raw: unknown): string {
  const { namespace, name } = metaOf(raw);
  return `${namespace}/${name}`;
}

export function resourceVersionOf(raw: unknown): string {
  return metaOf(raw).resourceVersion;
}

function metaOf(raw: unknown) {
  const parsed = v.safeParse(metadata, raw);
  return parsed.success ? parsed.output.metadata : { namespace: '', name: '', resourceVersion: '' };
}

/** An item of a list or the object of an event, without all that routing does not need. */
export function decodeEntry(
  raw: unknown,
  kind: KubernetesKind,
  apiVersion: string,
  filter: AnnotationFilter,
): Decoded {
  // The items of a list lack both fields.
  const decoded = decodeObject({ ...(raw as object), kind, apiVersion });
  if (!decoded.ok || kind !== 'Ingress') return decoded;
  const objects = decoded.objects.map((object) => {
    if (object.kind !== 'Ingress') return object;
    const relevant = Object.entries(object.annotations).filter(([name]) => filter(name));
    return { ...object, annotations: Object.fromEntries(relevant) };
  });
  return { ok: true, objects };
}

/**
 * Whether two forms of an object mean the same to routing: what is written to an Ingress (by us,
 * after each publication) is left out. Private keys are in private fields, which
 * `isDeepStrictEqual` does not look at.
 */
export function sameEntry(a: Decoded, b: Decoded): boolean {
  return (
    isDeepStrictEqual(withoutRecord(a), withoutRecord(b)) &&
    isDeepStrictEqual(privateKeys(a), privateKeys(b))
  );
}

function withoutRecord(decoded: Decoded): unknown {
  if (!decoded.ok) return decoded;
  return decoded.objects.map((it) => (it.kind === 'Ingress' ? { ...it, record: null } : it));
}

function privateKeys(decoded: Decoded): readonly string[] {
  if (!decoded.ok) return [];
  return decoded.objects.map((it) => (it.kind === 'Secret' ? it.privateKey.reveal() : ''));
}
