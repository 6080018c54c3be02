import * as v from 'valibot';
import type { ObjectRef } from '../../snapshot/types.ts';
import type { ApiClient } from './api-client.ts';
import { discoverApiVersion } from './api-discovery.ts';
import { ApiError } from './api-error.ts';
import type { KubernetesKind } from './objects.ts';
import { readOne } from './read-one.ts';
import { RESOURCES } from './resource.ts';

/** What can be said of an object that is otherwise not what its kind says. */
export interface FoundObject {
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** `spec.ingressClassName`. */
  readonly className: string | null;
}

const found = v.object({
  metadata: v.object({
    uid: v.string(),
    annotations: v.nullish(v.record(v.string(), v.string()), {}),
  }),
  spec: v.fallback(v.nullish(v.object({ ingressClassName: v.nullish(v.string()) }), {}), {}),
});

/** Asks the server for an object of a kind that we read; `null` when there is none. */
export async function findObject(
  client: Pick<ApiClient, 'get'>,
  { kind, namespace, name }: ObjectRef,
  signal: AbortSignal,
): Promise<FoundObject | null> {
  if (!isKind(kind)) return null;
  const apiVersion = await discoverApiVersion(client, kind, signal);
  if (apiVersion === null) return null;
  try {
    const object = await readOne(client, { kind, namespace, name }, apiVersion, signal);
    const parsed = v.safeParse(found, object);
    if (!parsed.success) return null;
    const { uid, annotations } = parsed.output.metadata;
    return { uid, annotations, className: parsed.output.spec?.ingressClassName ?? null };
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 403)) return null;
    throw error;
  }
}

function isKind(kind: string): kind is KubernetesKind {
  return Object.hasOwn(RESOURCES, kind);
}
