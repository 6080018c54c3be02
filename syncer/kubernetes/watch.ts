import * as v from 'valibot';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { resourceVersionOf } from './entry.ts';
import { fieldSelector } from './list.ts';
import { type Collection, collectionPath } from './resource.ts';

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: unknown;
  /** From where to watch next. */
  readonly resourceVersion: string;
}

/** An event that cannot be read: nobody knows what it said, and only a list helps. */
export class WatchBroken extends Error {
  override readonly name = 'WatchBroken';
}

const eventSchema = v.object({
  type: v.picklist(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: v.looseObject({}),
});

/** How long one watch may last and be silent. */
export interface WatchLimits {
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number;
  /** Longer than the above: a connection silent for this long is dead. */
  readonly silenceMs: number;
}

/**
 * The changes of a collection after a resourceVersion, until the server ends the stream. Resolves
 * once the server has accepted; throws an {@link ApiError}, there or for an ERROR event, a
 * {@link WatchBroken}, and Node's errors when the connection breaks.
 */
export async function openWatch(
  client: ApiClient,
  collection: Collection,
  apiVersion: string,
  resourceVersion: string,
  { timeoutSeconds, silenceMs }: WatchLimits,
  signal: AbortSignal,
): Promise<AsyncGenerator<WatchEvent>> {
  const path = collectionPath(collection, apiVersion);
  const query = {
    ...fieldSelector(collection),
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion,
    timeoutSeconds: String(timeoutSeconds),
  };
  return readEvents(await client.lines({ path, query, signal, silenceMs }), `WATCH ${path}`);
}

async function* readEvents(
  lines: AsyncIterable<string>,
  what: string,
): AsyncGenerator<WatchEvent, void> {
  for await (const line of lines) {
    const { type, object } = readEvent(line, what);
    if (type === 'ERROR') throw ApiError.fromStatus(what, 500, object);
    const resourceVersion = resourceVersionOf(object);
    if (resourceVersion === '') throw new WatchBroken(`${what}: an event without resourceVersion`);
    yield { type, object, resourceVersion };
  }
}

function readEvent(line: string, what: string): v.InferOutput<typeof eventSchema> {
  try {
    return v.parse(eventSchema, JSON.parse(line));
  } catch {
    // Not its text: it may be a Secret.
    throw new WatchBroken(`${what}: an event that cannot be read`);
  }
}
