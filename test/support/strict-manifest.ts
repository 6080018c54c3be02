/**
 * The fields that fixtures may use, so that a misspelt one fails a case instead of testing nothing.
 * `true` stands for anything, a list for a list of its one element.
 */
type Shape = true | readonly [Shape] | { readonly [field: string]: Shape };

const META: Shape = {
  name: true,
  namespace: true,
  creationTimestamp: true,
  annotations: true,
  labels: true,
};

const BACKEND: Shape = {
  service: { name: true, port: { number: true, name: true } },
  resource: { apiGroup: true, kind: true, name: true },
};

const OLD_BACKEND: Shape = { serviceName: true, servicePort: true };

const TLS: Shape = [{ hosts: [true], secretName: true }];

const INGRESS: Shape = {
  ingressClassName: true,
  defaultBackend: BACKEND,
  rules: [{ host: true, http: { paths: [{ path: true, pathType: true, backend: BACKEND }] } }],
  tls: TLS,
};

const OLD_INGRESS: Shape = {
  ingressClassName: true,
  backend: OLD_BACKEND,
  rules: [{ host: true, http: { paths: [{ path: true, pathType: true, backend: OLD_BACKEND }] } }],
  tls: TLS,
};

const SERVICE: Shape = {
  type: true,
  selector: true,
  clusterIP: true,
  externalName: true,
  externalIPs: [true],
  externalTrafficPolicy: true,
  publishNotReadyAddresses: true,
  allocateLoadBalancerNodePorts: true,
  ports: [{ name: true, port: true, targetPort: true, nodePort: true, protocol: true }],
};

const SUBSET: Shape = {
  addresses: [{ ip: true, nodeName: true }],
  notReadyAddresses: [{ ip: true, nodeName: true }],
  ports: [{ name: true, port: true, protocol: true }],
};

const SHAPES: ReadonlyMap<unknown, Shape> = new Map<unknown, Shape>([
  ['networking.k8s.io/v1 Ingress', { spec: INGRESS }],
  ['networking.k8s.io/v1beta1 Ingress', { spec: OLD_INGRESS }],
  ['extensions/v1beta1 Ingress', { spec: OLD_INGRESS }],
  [
    'networking.k8s.io/v1 IngressClass',
    {
      spec: {
        controller: true,
        parameters: { apiGroup: true, kind: true, scope: true, namespace: true, name: true },
      },
    },
  ],
  ['v1 Service', { spec: SERVICE, status: true }],
  [
    'discovery.k8s.io/v1 EndpointSlice',
    {
      addressType: true,
      ports: [{ name: true, port: true, protocol: true }],
      endpoints: [
        {
          addresses: [true],
          conditions: { ready: true, serving: true, terminating: true },
          nodeName: true,
        },
      ],
    },
  ],
  ['v1 Endpoints', { subsets: [SUBSET] }],
  [
    'v1 Node',
    {
      spec: { unschedulable: true },
      status: { addresses: [{ type: true, address: true }], conditions: [true] },
    },
  ],
  ['v1 ConfigMap', { data: true }],
  ['v1 Namespace', {}],
  ['v1 Secret', { type: true, data: true, stringData: true }],
]);

/** Every field that is not known, as `Ingress web: spec.ingressclassName`. */
export function unknownFields(raw: unknown): readonly string[] {
  const { apiVersion, kind, metadata, ...rest } = Object(raw) as Record<string, unknown>;
  const name = `${kind} ${(metadata as { name?: unknown } | null | undefined)?.name}`;
  const shape = SHAPES.get(`${apiVersion} ${kind}`);
  if (!shape) return [`${name}: kind ${kind} of ${apiVersion}`];
  return [...unknownIn(metadata, META, 'metadata'), ...unknownIn(rest, shape, '')].map(
    (field) => `${name}: ${field}`,
  );
}

function unknownIn(value: unknown, shape: Shape, path: string): readonly string[] {
  if (shape === true || value === null || value === undefined) return [];
  if (isList(shape)) {
    if (!Array.isArray(value)) return [`${path} is no list`];
    return value.flatMap((item, index) => unknownIn(item, shape[0], `${path}[${index}]`));
  }
  if (typeof value !== 'object' || Array.isArray(value)) return [`${path} is no object`];
  return Object.entries(value).flatMap(([key, child]) => {
    const field = path === '' ? key : `${path}.${key}`;
    const known = Object.hasOwn(shape, key) ? shape[key] : undefined;
    return known === undefined ? [field] : unknownIn(child, known, field);
  });
}

function isList(shape: Shape): shape is readonly [Shape] {
  return Array.isArray(shape);
}
