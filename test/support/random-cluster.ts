import fc from 'fast-check';
import { type ClusterState, clusterState } from '../../syncer/cluster-state.ts';
import { decodeObject } from '../../syncer/kubernetes/decode.ts';

/**
 * Clusters that are small and crowded: few names, so that Ingresses of several namespaces and ages
 * claim the same hosts and paths, and everything that can be missing is missing now and then.
 */
export interface RandomIngress {
  readonly apiVersion: 'networking.k8s.io/v1';
  readonly kind: 'Ingress';
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly creationTimestamp?: string;
  };
  readonly spec: {
    readonly ingressClassName?: string;
    readonly defaultBackend?: RandomBackend;
    readonly rules: readonly {
      readonly host?: string;
      readonly http?: { readonly paths: readonly RandomPath[] };
    }[];
  };
}

export interface RandomPath {
  readonly path: string;
  readonly pathType: 'Exact' | 'Prefix' | 'ImplementationSpecific';
  readonly backend: RandomBackend;
}

export interface RandomBackend {
  readonly service: {
    readonly name: string;
    readonly port: { readonly number: number } | { readonly name: string };
  };
}

export interface RandomService {
  readonly kind: 'Service';
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly type: string;
    readonly ports: readonly { readonly name: string; readonly port: number }[];
  };
}

type Raw = Readonly<Record<string, unknown>>;

const namespace = fc.constantFrom('team-a', 'team-b', 'team-c');
const serviceName = fc.constantFrom('web', 'api', 'constructor', 'gone');
const age = fc.constantFrom(undefined, '2024-01-01T00:00:00Z', '2024-06-01T00:00:00Z');

const backend: fc.Arbitrary<RandomBackend> = fc.record({
  service: fc.record({
    name: serviceName,
    port: fc.oneof(
      fc.record({ number: fc.constantFrom(80, 8080, 9999) }),
      fc.record({ name: fc.constantFrom('http', 'admin') }),
    ),
  }),
});

const ruleHost = fc.constantFrom(
  undefined,
  'a.example',
  'A.Example',
  'b.example',
  'x.b.example',
  '*.example',
  '*.b.example',
  'example',
  'constructor',
  'bad_host.example',
  '192.0.2.1',
);

const segment = fc.constantFrom('a', 'b', 'ab', 'A', 'é', 'a%20b', 'a b', '__proto__', '.', '');

/** Mostly paths that Kubernetes takes, some that it does not. */
const rulePath = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.boolean())
  .map(([segments, slash]) => `/${segments.join('/')}${slash ? '/' : ''}`);

const path: fc.Arbitrary<RandomPath> = fc.record({
  path: rulePath,
  pathType: fc.constantFrom('Exact', 'Prefix', 'ImplementationSpecific'),
  backend,
});

const rule = fc.record(
  { host: ruleHost, http: fc.record({ paths: fc.array(path, { maxLength: 4 }) }) },
  { requiredKeys: [] },
);

export function ingress(name: string): fc.Arbitrary<RandomIngress> {
  return fc.record({
    apiVersion: fc.constant('networking.k8s.io/v1' as const),
    kind: fc.constant('Ingress' as const),
    metadata: fc.record({ namespace, name: fc.constant(name), creationTimestamp: age }),
    spec: fc.record(
      {
        ingressClassName: fc.constantFrom('causeway', 'causeway', 'causeway', 'nginx', undefined),
        defaultBackend: backend,
        rules: fc.array(rule, { maxLength: 3 }),
      },
      { requiredKeys: ['ingressClassName', 'rules'] },
    ),
  }) as fc.Arbitrary<RandomIngress>;
}

export const ingresses: fc.Arbitrary<readonly RandomIngress[]> = fc
  .integer({ min: 0, max: 6 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => ingress(`i${i}`))));

/** Services outside the cluster, whose endpoint needs nothing else to be there. */
export const externalServices: fc.Arbitrary<readonly RandomService[]> = uniqueServices(
  fc.constant({ type: 'ExternalName', externalName: 'origin.example' }),
);

/** Services of all types with what belongs to them, or does not. */
export const services: fc.Arbitrary<readonly RandomService[]> = uniqueServices(
  fc.record({
    type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
    externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
    selector: fc.constantFrom({}, { app: 'web' }),
    externalIPs: fc.subarray(['8.8.8.1', '8.8.8.2', '10.0.0.1']),
    externalName: fc.constantFrom('', 'origin.example', 'localhost'),
    clusterIP: fc.constantFrom('10.96.0.1', 'None'),
  }),
);

function uniqueServices(
  spec: fc.Arbitrary<{ type: string }>,
): fc.Arbitrary<readonly RandomService[]> {
  const ports = [
    { name: 'http', port: 80, nodePort: 30080 },
    { name: 'admin', port: 8080, nodePort: 30090 },
  ];
  const service = fc
    .tuple(namespace, fc.constantFrom('web', 'api', 'constructor'), spec, fc.subarray(ports))
    .map(([namespace, name, rest, ports]) => ({
      apiVersion: 'v1',
      kind: 'Service' as const,
      metadata: { namespace, name },
      spec: { ...rest, ports },
    }));
  return fc.uniqueArray(service, {
    selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
  });
}

const address = fc.constantFrom('8.8.8.8', '8.8.4.4', '10.1.0.1', '169.254.169.254', '104.16.0.1');
const nodeName = fc.constantFrom('n0', 'n1', 'n2', '');

function slice(index: number): fc.Arbitrary<Raw> {
  const conditions = fc.record(
    { ready: fc.boolean(), serving: fc.boolean(), terminating: fc.boolean() },
    { requiredKeys: [] },
  );
  const endpoint = fc.record({
    addresses: fc.array(address, { maxLength: 2 }),
    conditions,
    nodeName,
  });
  return fc
    .record({ namespace, serviceName, endpoints: fc.array(endpoint, { maxLength: 3 }) })
    .map(({ namespace, serviceName, endpoints }) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        namespace,
        name: `slice-${index}`,
        labels: { 'kubernetes.io/service-name': serviceName },
      },
      ports: [{ name: 'http', port: 3000 + (index % 2) }, { name: 'admin' }],
      endpoints,
    }));
}

function node(index: number): fc.Arbitrary<Raw> {
  return fc
    .record({ type: fc.constantFrom('ExternalIP', 'InternalIP'), address, ready: fc.boolean() })
    .map(({ type, address, ready }) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: `n${index}` },
      status: {
        addresses: [{ type, address }],
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      },
    }));
}

function several<T>(max: number, make: (index: number) => fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc
    .integer({ min: 0, max })
    .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => make(i))));
}

/** Everything that routing reads, in no particular order. */
export const everything: fc.Arbitrary<readonly Raw[]> = fc
  .tuple(ingresses, services, several(6, slice), several(3, node))
  .map((lists): readonly Raw[] => lists.flat().map((it) => ({ ...it })));

/** @throws Error when a generated object is not what its kind says: then the generator is wrong. */
export function stateOf(raw: readonly object[]): ClusterState {
  return clusterState(
    raw.flatMap((it) => {
      const decoded = decodeObject(it);
      if (!decoded.ok) throw new Error(decoded.problem.message);
      return decoded.objects;
    }),
  );
}
