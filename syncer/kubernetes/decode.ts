import * as v from 'valibot';
import type { Problem } from '../../snapshot/types.ts';
import { quoted } from '../quoted.ts';
import { SecretText } from '../secret-text.ts';
import { decodeIngress, InvalidField, loadBalancerAddresses } from './decode-ingress.ts';
import type { KubernetesObject, ObjectMeta } from './objects.ts';
import * as schema from './schema.ts';

export type Decoded =
  | { readonly ok: true; readonly objects: readonly KubernetesObject[] }
  | { readonly ok: false; readonly problem: Problem };

type Raw = Readonly<Record<string, unknown>>;
type Header = v.InferOutput<typeof schema.header>;
type Decoder = (raw: Raw, header: Header, meta: ObjectMeta) => readonly KubernetesObject[];

const CLUSTER_SCOPED = new Set(['IngressClass', 'Node', 'Namespace']);

/**
 * Brings one object, from a file or from the API server, over the border. A kind that plays no part
 * in routing gives no objects; one that is not what its kind says gives a problem, never an
 * exception.
 */
export function decodeObject(raw: unknown): Decoded {
  const type = v.safeParse(schema.type, raw);
  if (!type.success) return invalid(raw, type.issues);
  const decoder = DECODERS.get(kindOf(type.output));
  // Before its metadata is read: that of a stranger (a Kustomization has none) need not be ours.
  if (!decoder) return { ok: true, objects: [] };
  const header = v.safeParse(schema.header, raw);
  if (!header.success) return invalid(raw, header.issues);
  const { kind, metadata } = header.output;
  const meta = {
    namespace: CLUSTER_SCOPED.has(kind) ? '' : metadata.namespace || 'default',
    name: metadata.name,
    createdAtMs: timestamp(metadata.creationTimestamp),
    uid: metadata.uid,
  };
  try {
    return { ok: true, objects: decoder(raw as Raw, header.output, meta) };
  } catch (error) {
    if (error instanceof v.ValiError) return invalid(raw, error.issues);
    if (error instanceof InvalidField) return invalidObject(raw, error.message);
    throw error;
  }
}

/** `Ingress.networking.k8s.io`, without the version; the core group has no suffix. */
function kindOf({ apiVersion, kind }: Pick<Header, 'apiVersion' | 'kind'>): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? kind : `${kind}.${apiVersion.slice(0, slash)}`;
}

const DECODERS: ReadonlyMap<string, Decoder> = new Map<string, Decoder>([
  ['Ingress.networking.k8s.io', decodeIngress],
  ['Ingress.extensions', decodeIngress],
  ['IngressClass.networking.k8s.io', decodeIngressClass],
  ['Service', decodeService],
  ['EndpointSlice.discovery.k8s.io', decodeEndpointSlice],
  ['Endpoints', decodeEndpoints],
  ['Node', decodeNode],
  ['Secret', decodeSecret],
  ['ConfigMap', decodeConfigMap],
  ['Namespace', decodeNamespace],
]);

function decodeIngressClass(raw: Raw, { metadata }: Header, meta: ObjectMeta) {
  const { controller, parameters } = v.parse(schema.ingressClass, raw).spec;
  return [
    {
      kind: 'IngressClass' as const,
      ...meta,
      controller,
      parameters: parameters ?? null,
      isDefault: metadata.annotations['ingressclass.kubernetes.io/is-default-class'] === 'true',
    },
  ];
}

function decodeService(raw: Raw, _header: Header, meta: ObjectMeta) {
  const parsed = v.parse(schema.service, raw);
  const { ports, selector, ...spec } = parsed.spec;
  return [
    {
      kind: 'Service' as const,
      ...meta,
      ...spec,
      type: spec.type ?? ('ClusterIP' as const),
      externalTrafficPolicy: spec.externalTrafficPolicy || ('Cluster' as const),
      hasSelector: Object.keys(selector).length > 0,
      ports: ports.map((port) => ({ ...port, protocol: port.protocol || 'TCP' })),
      loadBalancer: loadBalancerAddresses(parsed.status.loadBalancer.ingress),
    },
  ];
}

function decodeEndpointSlice(raw: Raw, { metadata }: Header, meta: ObjectMeta) {
  const slice = v.parse(schema.endpointSlice, raw);
  return [
    {
      kind: 'EndpointSlice' as const,
      ...meta,
      service: metadata.labels['kubernetes.io/service-name'] ?? '',
      ports: slice.ports.map(({ name, port }) => ({ name, port: port ?? null })),
      endpoints: slice.endpoints.map(({ addresses, conditions, nodeName, topology }) => {
        // Unknown is ready; serving defaults to ready (discovery.k8s.io/v1 EndpointConditions).
        const ready = conditions.ready ?? true;
        const serving = conditions.serving ?? ready;
        const terminating = conditions.terminating ?? false;
        const node = nodeName || (topology['kubernetes.io/hostname'] ?? '');
        return { addresses, ready, serving, terminating, nodeName: node };
      }),
    },
  ];
}

function decodeEndpoints(raw: Raw, _header: Header, meta: ObjectMeta) {
  const { subsets } = v.parse(schema.endpoints, raw);
  return subsets.map((subset, index) => {
    const endpoint = (address: { ip: string; nodeName: string }, ready: boolean) => ({
      addresses: [address.ip],
      ready,
      serving: ready,
      terminating: false,
      nodeName: address.nodeName,
    });
    return {
      kind: 'EndpointSlice' as const,
      ...meta,
      name: `${meta.name}-endpoints-${index}`,
      service: meta.name,
      ports: subset.ports,
      endpoints: [
        ...subset.addresses.map((address) => endpoint(address, true)),
        ...subset.notReadyAddresses.map((address) => endpoint(address, false)),
      ],
    };
  });
}

function decodeNode(raw: Raw, { metadata }: Header, meta: ObjectMeta) {
  const { status } = v.parse(schema.node, raw);
  return [
    {
      kind: 'Node' as const,
      ...meta,
      labels: metadata.labels,
      addresses: status.addresses,
      ready: status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
      excluded: 'node.kubernetes.io/exclude-from-external-load-balancers' in metadata.labels,
    },
  ];
}

function decodeSecret(raw: Raw, _header: Header, meta: ObjectMeta) {
  const { type, data, stringData } = v.parse(schema.secret, raw);
  const value = (key: string) =>
    stringData[key] ?? Buffer.from(data[key] ?? '', 'base64').toString('utf8');
  return [
    {
      kind: 'Secret' as const,
      ...meta,
      type,
      certificate: value('tls.crt'),
      privateKey: new SecretText(value('tls.key')),
      authorities: value('ca.crt'),
      hasRevocationList: value('ca.crl') !== '',
    },
  ];
}

function decodeConfigMap(raw: Raw, _header: Header, meta: ObjectMeta) {
  const { data } = v.parse(schema.configMap, raw);
  const texts = Object.entries(data).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : null,
  ]);
  return [{ kind: 'ConfigMap' as const, ...meta, data: Object.fromEntries(texts) }];
}

function decodeNamespace(_raw: Raw, { metadata }: Header, meta: ObjectMeta) {
  // Every server adds this one.
  const labels = { 'kubernetes.io/metadata.name': meta.name, ...metadata.labels };
  return [{ kind: 'Namespace' as const, ...meta, labels }];
}

function timestamp(value: string | Date | null | undefined): number {
  const ms = value instanceof Date ? value.getTime() : Date.parse(value ?? '');
  return Number.isNaN(ms) ? Number.POSITIVE_INFINITY : ms;
}

function invalid(raw: unknown, issues: readonly v.BaseIssue<unknown>[]): Decoded {
  const [issue] = issues;
  const field = issue ? fieldOf(issue) : '';
  // What a Secret holds instead may be the secret: only what should be there is said.
  const quotes = typeof raw === 'object' && (raw as { kind?: unknown } | null)?.kind !== 'Secret';
  return invalidObject(raw, `${field} ${issue ? whatIsWrong(issue, quotes) : 'is invalid'}`);
}

/** `spec.rules[0].http.paths[2].backend`. */
function fieldOf({ path }: v.BaseIssue<unknown>): string {
  if (!path) return 'the document';
  const steps = path.map(({ key }) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`));
  return steps.join('').slice(1);
}

const WORDS: ReadonlyMap<string, string> = new Map([
  ['Array', 'a list'],
  ['Object', 'an object'],
  ['string', 'text'],
  ['number', 'a number'],
  ['boolean', 'true or false'],
]);

function whatIsWrong(issue: v.BaseIssue<unknown>, quotes: boolean): string {
  if (issue.received === 'undefined') return 'is missing';
  if (issue.type === 'min_length') return 'is empty';
  const expected = WORDS.get(issue.expected ?? '') ?? issue.expected?.replaceAll(/[()"]/g, '');
  if (!quotes) return `must be ${expected}`;
  const { input, received } = issue;
  const given = typeof input === 'string' ? quoted(input) : (WORDS.get(received) ?? received);
  return `must be ${expected}, not ${given}`;
}

function invalidObject(raw: unknown, message: string): Decoded {
  const object = (raw ?? {}) as {
    kind?: unknown;
    metadata?: { name?: unknown; namespace?: unknown };
  };
  const word = (value: unknown, otherwise: string) =>
    typeof value === 'string' && value !== '' ? value : otherwise;
  const kind = word(object.kind, 'object');
  const namespace = CLUSTER_SCOPED.has(kind) ? '' : word(object.metadata?.namespace, 'default');
  const ref = { kind, namespace, name: word(object.metadata?.name, '(no name)') };
  return { ok: false, problem: { object: ref, reason: 'InvalidObject', message } };
}
