/** The shapes Kubernetes objects have on the wire, as far as we read them. Unknown keys pass. */
import * as v from 'valibot';

const text = v.nullish(v.string(), '');
const texts = v.nullish(v.array(v.string()), []);
const textMap = v.nullish(v.record(v.string(), v.string()), {});
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535));
const portNumber = v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535)), 0);

export const metadata = v.object({
  name: v.pipe(v.string(), v.minLength(1)),
  namespace: text,
  creationTimestamp: v.nullish(v.union([v.string(), v.date()])),
  annotations: textMap,
  labels: textMap,
  uid: text,
  resourceVersion: text,
});

const addresses = v.nullish(
  v.array(v.object({ ip: text, hostname: text, ports: v.nullish(v.array(v.unknown()), []) })),
  [],
);
const status = v.nullish(
  v.object({ loadBalancer: v.nullish(v.object({ ingress: addresses }), {}) }),
  {},
);

export const type = v.object({ apiVersion: v.string(), kind: v.string() });
export const header = v.object({ ...type.entries, metadata });

export const backend = v.object({
  // networking.k8s.io/v1
  service: v.nullish(
    v.object({
      name: v.pipe(v.string(), v.minLength(1)),
      port: v.object({ number: v.optional(port), name: v.optional(v.string()) }),
    }),
  ),
  // networking.k8s.io/v1beta1 and extensions/v1beta1
  serviceName: v.nullish(v.string()),
  servicePort: v.nullish(v.union([port, v.string()])),
  resource: v.nullish(v.object({ apiGroup: text, kind: v.string(), name: v.string() })),
});

const path = v.object({ path: text, pathType: v.nullish(v.string()), backend });

export const ingress = v.object({
  spec: v.nullish(
    v.object({
      ingressClassName: v.nullish(v.string()),
      defaultBackend: v.nullish(backend),
      backend: v.nullish(backend),
      rules: v.nullish(
        v.array(v.object({ host: text, http: v.nullish(v.object({ paths: v.array(path) })) })),
        [],
      ),
      tls: v.nullish(v.array(v.object({ hosts: texts, secretName: text })), []),
    }),
    {},
  ),
});

/** What we write to an Ingress. If it cannot be read that is no reason not to serve it. */
export const ingressRecord = v.object({
  metadata: v.object({
    managedFields: v.nullish(
      v.array(v.object({ manager: text, fieldsV1: v.nullish(v.record(v.string(), v.unknown())) })),
      [],
    ),
  }),
  status,
});

export const ingressClass = v.object({
  spec: v.nullish(
    v.object({
      controller: text,
      parameters: v.nullish(
        v.object({ apiGroup: text, kind: v.string(), name: v.string(), namespace: text }),
      ),
    }),
    {},
  ),
});

export const configMap = v.object({ data: v.nullish(v.record(v.string(), v.unknown()), {}) });

export const service = v.object({
  spec: v.nullish(
    v.object({
      type: v.nullish(v.picklist(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'])),
      selector: textMap,
      clusterIP: text,
      externalName: text,
      externalIPs: texts,
      externalTrafficPolicy: v.nullish(v.picklist(['Cluster', 'Local', ''])),
      ports: v.nullish(
        v.array(v.object({ name: text, port, nodePort: portNumber, protocol: text })),
        [],
      ),
    }),
    {},
  ),
  status,
});

export const endpointSlice = v.object({
  ports: v.nullish(v.array(v.object({ name: text, port: v.nullish(port) })), []),
  endpoints: v.nullish(
    v.array(
      v.object({
        addresses: texts,
        conditions: v.nullish(
          v.object({
            ready: v.nullish(v.boolean()),
            serving: v.nullish(v.boolean()),
            terminating: v.nullish(v.boolean()),
          }),
          {},
        ),
        nodeName: text,
        // discovery.k8s.io/v1beta1
        topology: textMap,
      }),
    ),
    [],
  ),
});

const endpointAddress = v.object({ ip: v.string(), nodeName: text });

export const endpoints = v.object({
  subsets: v.nullish(
    v.array(
      v.object({
        addresses: v.nullish(v.array(endpointAddress), []),
        notReadyAddresses: v.nullish(v.array(endpointAddress), []),
        ports: v.nullish(v.array(v.object({ name: text, port })), []),
      }),
    ),
    [],
  ),
});

export const node = v.object({
  status: v.nullish(
    v.object({
      addresses: v.nullish(v.array(v.object({ type: v.string(), address: v.string() })), []),
      conditions: v.nullish(v.array(v.object({ type: v.string(), status: v.string() })), []),
    }),
    {},
  ),
});

export const secret = v.object({
  type: v.nullish(v.string(), 'Opaque'),
  data: textMap,
  stringData: textMap,
});
