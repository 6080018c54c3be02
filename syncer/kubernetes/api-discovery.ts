import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import type { KubernetesKind } from './objects.ts';
import { groupPath, RESOURCES } from './resource.ts';

const SILENCE_MS = 30_000;

/**
 * The best API version in which the server has a kind: it is asked, because a current server has
 * only the new ones and an old server only the old ones. `null` when it has none of those we read.
 */
export async function discoverApiVersion(
  client: Pick<ApiClient, 'get'>,
  kind: KubernetesKind,
  signal: AbortSignal,
): Promise<string | null> {
  const { apiVersions, plural } = RESOURCES[kind];
  if (apiVersions.length === 1) return apiVersions[0];
  for (const apiVersion of apiVersions) {
    const path = groupPath(apiVersion);
    const found = await client
      .get({ path, query: {}, signal, silenceMs: SILENCE_MS })
      .catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 404) return { resources: [] };
        throw error;
      });
    if (names(found).includes(plural)) return apiVersion;
  }
  return null;
}

/** Of an APIResourceList. */
function names(found: unknown): readonly unknown[] {
  const { resources } = (found ?? {}) as { resources?: unknown };
  return Array.isArray(resources) ? resources.map((it: { name?: unknown }) => it.name) : [];
}
