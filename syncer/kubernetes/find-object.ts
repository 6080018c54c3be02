import * as v from 'valibot';
import type { ObjectRef } from '../../snapshot/types.ts';
import type { ApiClient } from './api-client.ts';
import { discoverApiVersion } from './api-discovery.ts';
import { ApiError } from './api-error.ts';
import type { KubernetesKind } from './objects.ts';
import { collectionPath, RESOURCES } from './resource.ts';

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
  const scope = { kind, namespace: namespace === '' ? null : namespace, name: null };
  const path = `${collectionPath(scope, apiVersion)}/${encodeURIComponent(name)}`;
  try {
    const raw = v.parse(found, await client.get({ path, query: {}, signal, silenceMs: 10_000 }));
    const { uid, annotations } = raw.metadata;
    return { uid, annotations, className: raw.spec?.ingressClassName ?? null };
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 403)) return null;
    throw error;
  }
}

function isKind(kind: string): kind is KubernetesKind {
  return Object.hasOwn(RESOURCES, kind);
}
