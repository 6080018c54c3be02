import { clusterState } from '../../syncer/cluster-state.ts';
import { type CompileOptions, DEFAULTS } from '../../syncer/compile/options.ts';
import { compileAt, type TimedCompilation } from '../../syncer/compile/validity.ts';
import type { Served } from '../../syncer/followers.ts';
import { decodeObject } from '../../syncer/kubernetes/decode.ts';
import type { PublishResult } from '../../syncer/publish-result.ts';
import { endlessTerm, type Term } from '../../syncer/term.ts';
import type { RawObject } from '../kubernetes/scripted-api-server.ts';

export const EDGE = 'edge.example.com';
export const PUBLISHING: Partial<CompileOptions> = { publishAddresses: [EDGE] };
/** Name under which the server keeps what these options write. */
export const MANAGER = `${DEFAULTS.controllerName}/${DEFAULTS.ingressClass}`;

interface IngressParts {
  readonly name?: string;
  readonly className?: string;
  readonly path?: string;
  readonly service?: string;
  readonly port?: number;
  readonly secretName?: string;
  readonly createdAt?: string;
  readonly resourceVersion?: string;
  readonly uid?: string;
  /** Hostnames in its status. */
  readonly shows?: readonly string[];
  /** Who wrote its status. */
  readonly managers?: readonly string[];
}

export function ingress(parts: IngressParts = {}): RawObject {
  const { name = 'web', path = '/', service = 'web', port = 80, shows = [], managers = [] } = parts;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name,
      namespace: 'shop',
      uid: parts.uid ?? `uid-of-${name}`,
      resourceVersion: parts.resourceVersion ?? '7',
      creationTimestamp: parts.createdAt ?? '2026-01-01T00:00:00Z',
      managedFields: managers.map((manager) => ({ manager, fieldsV1: { 'f:status': {} } })),
    },
    spec: {
      ingressClassName: parts.className ?? 'causeway',
      rules: [
        {
          host: 'a.example',
          http: {
            paths: [
              {
                path,
                pathType: 'Prefix',
                backend: { service: { name: service, port: { number: port } } },
              },
            ],
          },
        },
      ],
      ...(parts.secretName && { tls: [{ hosts: ['a.example'], secretName: parts.secretName }] }),
    },
    status: { loadBalancer: { ingress: shows.map((hostname) => ({ hostname })) } },
  };
}

/** Reached by its name, unless it is of another type. */
export function service(name = 'web', spec: Record<string, unknown> = {}): RawObject {
  const external = { type: 'ExternalName', externalName: 'web.origin.example' };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop', uid: `uid-of-service-${name}` },
    spec: { ...external, ports: [{ port: 80 }], ...spec },
  };
}

export function compiled(
  objects: readonly RawObject[],
  options: Partial<CompileOptions> = {},
): TimedCompilation {
  const decoded = objects.map(decodeObject);
  const state = clusterState(
    decoded.flatMap((it) => (it.ok ? it.objects : [])),
    decoded.flatMap((it) => (it.ok ? [] : [it.problem])),
  );
  return compileAt(state, { ...DEFAULTS, ...options }, Date.now());
}

export const VERSION_1 = '1'.repeat(64);
export const VERSION_2 = '2'.repeat(64);

export function served(
  compilation: TimedCompilation,
  version = VERSION_1,
  outcome: 'published' | 'unchanged' | 'pinned' = 'published',
  term: Term = endlessTerm(),
): Served {
  const results: Record<typeof outcome, PublishResult> = {
    published: { outcome: 'published', version, replaced: '', shardsWritten: 1, changes: null },
    unchanged: { outcome: 'unchanged', version },
    pinned: { outcome: 'pinned', version, serving: '' },
  };
  return { compilation, version, result: results[outcome], fencingToken: 1, term };
}
