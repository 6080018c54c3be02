import * as v from 'valibot';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { type Collection, collectionPath } from './resource.ts';

/** Of objects in one page; the server's own tools use the same. */
const PAGE_LIMIT = 500;
const SILENCE_MS = 30_000;

const listSchema = v.object({
  metadata: v.object({
    resourceVersion: v.pipe(v.string(), v.minLength(1)),
    continue: v.nullish(v.string(), ''),
  }),
  items: v.nullish(v.array(v.unknown()), []),
});

/**
 * Reads a whole collection, page by page, and returns the resourceVersion from which to watch.
 * `begin` is called first, and again if the pages so far are void: a continue token expires with
 * the server's history, and then the list starts over, now in one piece so that it must end.
 */
export async function readList(
  client: ApiClient,
  collection: Collection,
  apiVersion: string,
  into: { begin(): void; add(item: unknown): void },
  signal: AbortSignal,
): Promise<string> {
  const path = collectionPath(collection, apiVersion);
  let limit = PAGE_LIMIT;
  let token = '';
  into.begin();
  while (true) {
    const query = {
      ...fieldSelector(collection),
      ...(limit > 0 && { limit: String(limit) }),
      ...(token !== '' && { continue: token }),
    };
    try {
      const page = v.parse(
        listSchema,
        await client.get({ path, query, signal, silenceMs: SILENCE_MS }),
      );
      for (const item of page.items) into.add(item);
      token = page.metadata.continue;
      if (token === '') return page.metadata.resourceVersion;
    } catch (error) {
      if (!(error instanceof ApiError && error.isExpired) || token === '') throw error;
      limit = 0;
      token = '';
      into.begin();
    }
  }
}

/** Which a server with RBAC for one name only (`resourceNames`) insists on. */
export function fieldSelector({ name }: Collection): { fieldSelector?: string } {
  return name === null ? {} : { fieldSelector: `metadata.name=${name}` };
}
