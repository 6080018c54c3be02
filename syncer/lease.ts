import * as v from 'valibot';
import type { ApiClient } from './kubernetes/api-client.ts';
import { ApiError } from './kubernetes/api-error.ts';

/** What a coordination.k8s.io/v1 Lease says. */
export interface LeaseSpec {
  /** Empty when it was released. */
  readonly holder: string;
  readonly durationMs: number;
  /** How often it was taken: our fencing token. */
  readonly transitions: number;
  /** Milliseconds since the epoch by the holder's clock, which nobody else compares with theirs. */
  readonly acquiredAtMs: number;
  readonly renewedAtMs: number;
}

export interface Lease extends LeaseSpec {
  /** As the server has it, labels and resourceVersion and all: what a replacement begins with. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * Where the Lease is kept. `create` and `replace` return `null` when somebody else was first. All
 * throw when there was no answer: the write may then have been done or not.
 */
export interface LeaseStore {
  read(signal: AbortSignal): Promise<Lease | null>;
  create(spec: LeaseSpec, signal: AbortSignal): Promise<Lease | null>;
  replace(lease: Lease, spec: LeaseSpec, signal: AbortSignal): Promise<Lease | null>;
}

const leaseSchema = v.object({
  metadata: v.looseObject({ resourceVersion: v.pipe(v.string(), v.minLength(1)) }),
  spec: v.nullish(
    v.object({
      holderIdentity: v.nullish(v.string(), ''),
      leaseDurationSeconds: v.nullish(v.number(), 0),
      leaseTransitions: v.nullish(v.number(), 0),
      acquireTime: v.nullish(v.string(), ''),
      renewTime: v.nullish(v.string(), ''),
    }),
    {},
  ),
});

/** One Lease of the API server. */
export class KubernetesLease implements LeaseStore {
  readonly #client: Pick<ApiClient, 'get' | 'write'>;
  readonly #namespace: string;
  readonly #name: string;
  readonly #silenceMs: number;

  /** @param silenceMs without a byte for so long, a call counts as failed */
  constructor(
    client: Pick<ApiClient, 'get' | 'write'>,
    namespace: string,
    name: string,
    silenceMs: number,
  ) {
    this.#client = client;
    this.#namespace = namespace;
    this.#name = name;
    this.#silenceMs = silenceMs;
  }

  async read(signal: AbortSignal): Promise<Lease | null> {
    const call = { path: this.#path(this.#name), query: {}, signal, silenceMs: this.#silenceMs };
    return unless(404, async () => parse(await this.#client.get(call)));
  }

  create(spec: LeaseSpec, signal: AbortSignal): Promise<Lease | null> {
    const metadata = { name: this.#name, namespace: this.#namespace };
    return this.#write('POST', this.#path(), metadata, spec, signal);
  }

  replace({ metadata }: Lease, spec: LeaseSpec, signal: AbortSignal): Promise<Lease | null> {
    return this.#write('PUT', this.#path(this.#name), metadata, spec, signal);
  }

  async #write(
    method: 'POST' | 'PUT',
    path: string,
    metadata: Lease['metadata'],
    spec: LeaseSpec,
    signal: AbortSignal,
  ): Promise<Lease | null> {
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata,
      spec: {
        holderIdentity: spec.holder,
        // The server refuses less than a second.
        leaseDurationSeconds: Math.max(1, Math.round(spec.durationMs / 1000)),
        leaseTransitions: spec.transitions,
        acquireTime: microTime(spec.acquiredAtMs),
        renewTime: microTime(spec.renewedAtMs),
      },
    };
    const silenceMs = this.#silenceMs;
    const contentType = 'application/json';
    const call = { method, path, query: {}, signal, silenceMs, contentType, body };
    // 404 for a Lease, or a namespace, that was deleted meanwhile. Of the namespace it is told by
    // `create`, for which 404 is no answer.
    const lost = method === 'PUT' ? [404, 409] : [409];
    return unless(lost, async () => parse(await this.#client.write(call)));
  }

  #path(name = ''): string {
    const leases = `/apis/coordination.k8s.io/v1/namespaces/${this.#namespace}/leases`;
    return name ? `${leases}/${name}` : leases;
  }
}

function parse(object: unknown): Lease {
  const { metadata, spec } = v.parse(leaseSchema, object);
  return {
    metadata,
    holder: spec.holderIdentity,
    durationMs: spec.leaseDurationSeconds * 1000,
    transitions: spec.leaseTransitions,
    acquiredAtMs: Date.parse(spec.acquireTime) || 0,
    renewedAtMs: Date.parse(spec.renewTime) || 0,
  };
}

/** The server insists on six digits after the second. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

async function unless<T>(statuses: number | readonly number[], work: () => Promise<T>) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ApiError && [statuses].flat().includes(error.status)) return null;
    throw error;
  }
}
