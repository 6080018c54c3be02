import * as v from 'valibot';
import type { ObjectRef } from '../../snapshot/types.ts';
import type { ApiClient } from './api-client.ts';
import { fieldSelector } from './list.ts';
import type { KubernetesKind } from './objects.ts';
import { collectionPath } from './resource.ts';

const SILENCE_MS = 10_000;

const list = v.object({ items: v.nullish(v.array(v.unknown()), []) });

/**
 * One object as it is now; `null` when there is none. Asked for by a list, which the watches need the
 * permission for anyway. Throws as {@link ApiClient.get} does.
 */
export async function readOne(
  client: Pick<ApiClient, 'get'>,
  { kind, namespace, name }: ObjectRef & { readonly kind: KubernetesKind },
  apiVersion: string,
  signal: AbortSignal,
): Promise<unknown> {
  const collection = { kind, namespace: namespace === '' ? null : namespace, name };
  const path = collectionPath(collection, apiVersion);
  const query = fieldSelector(collection);
  const { items } = v.parse(list, await client.get({ path, query, signal, silenceMs: SILENCE_MS }));
  return items[0] ?? null;
}
