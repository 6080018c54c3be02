import type { ApiClient, ApiWrite } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { groupPath } from './resource.ts';

/** Which object an Event is about, as both Event APIs have it. */
export interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface NewEvent {
  readonly name: string;
  readonly regarding: Regarding;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

type Request = Pick<ApiWrite, 'method' | 'path' | 'contentType' | 'body'>;

/** How Events are written in one version of the API. */
export interface EventsApi {
  /** As RBAC writes it. */
  readonly resource: string;
  create(event: NewEvent): Request;
  /** Says once more what was said before. @param count how often by now, at least 2 */
  repeat(event: Pick<NewEvent, 'name' | 'regarding' | 'atMs'>, count: number): Request;
}

/** Events of events.k8s.io/v1, or of the core group where the server is too old (before 1.19). */
export async function discoverEventsApi(
  client: Pick<ApiClient, 'get'>,
  signal: AbortSignal,
): Promise<EventsApi> {
  const path = groupPath(EVENTS_V1);
  try {
    await client.get({ path, query: {}, signal, silenceMs: 10_000 });
    return eventsV1;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return coreV1;
    throw error;
  }
}

const EVENTS_V1 = 'events.k8s.io/v1';

const eventsV1: EventsApi = {
  resource: 'events.events.k8s.io',
  create: ({ name, atMs, ...event }) => {
    const metadata = { name, namespace: namespaceOf(event.regarding) };
    const body = {
      apiVersion: EVENTS_V1,
      kind: 'Event',
      metadata,
      eventTime: micro(atMs),
      ...event,
    };
    return post(EVENTS_V1, metadata.namespace, body);
  },
  repeat: (event, count) =>
    patch(EVENTS_V1, event, { series: { count, lastObservedTime: micro(event.atMs) } }),
};

const coreV1: EventsApi = {
  resource: 'events',
  create: ({ name, regarding, note, atMs, reportingController, ...event }) => {
    const metadata = { name, namespace: namespaceOf(regarding) };
    const time = new Date(atMs).toISOString();
    const body = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata,
      ...event,
      involvedObject: regarding,
      message: note,
      source: { component: reportingController },
      reportingComponent: reportingController,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    return post('v1', metadata.namespace, body);
  },
  repeat: (event, count) =>
    patch('v1', event, { count, lastTimestamp: new Date(event.atMs).toISOString() }),
};

function post(apiVersion: string, namespace: string, body: object): Request {
  const path = collection(apiVersion, namespace);
  return { method: 'POST', path, contentType: 'application/json', body };
}

function patch(
  apiVersion: string,
  { name, regarding }: Pick<NewEvent, 'name' | 'regarding'>,
  body: object,
): Request {
  const path = `${collection(apiVersion, namespaceOf(regarding))}/${name}`;
  return { method: 'PATCH', path, contentType: 'application/merge-patch+json', body };
}

function collection(apiVersion: string, namespace: string): string {
  return `${groupPath(apiVersion)}/namespaces/${encodeURIComponent(namespace)}/events`;
}

/** Events about objects without a namespace are kept in this one. */
function namespaceOf({ namespace }: Pick<Regarding, 'namespace'>): string {
  return namespace || 'default';
}

/** `metav1.MicroTime` wants six digits. */
function micro(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
