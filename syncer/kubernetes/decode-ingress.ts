import * as v from 'valibot';
import { quoted } from '../quoted.ts';
import type {
  Ingress,
  IngressBackend,
  IngressPath,
  IngressPathType,
  IngressRecord,
  LoadBalancerAddress,
  ObjectMeta,
  ServicePortRef,
} from './objects.ts';
import * as schema from './schema.ts';

type Header = v.InferOutput<typeof schema.header>;

/** A value the schema accepts and Kubernetes would not; becomes an `InvalidObject`. */
export class InvalidField extends Error {}

/** Throws valibot's error or an {@link InvalidField}. */
export function decodeIngress(
  raw: unknown,
  { apiVersion, metadata }: Header,
  meta: ObjectMeta,
): readonly Ingress[] {
  const { spec } = v.parse(schema.ingress, raw);
  const old = apiVersion !== 'networking.k8s.io/v1';
  const fallback = (old ? spec.backend : spec.defaultBackend) ?? null;
  const rules = spec.rules.map((rule, r) => ({
    host: rule.host,
    paths: (rule.http?.paths ?? []).map((path, p): IngressPath => {
      const field = `spec.rules[${r}].http.paths[${p}]`;
      const type = pathType(path.pathType ?? (old ? 'ImplementationSpecific' : ''), field);
      return {
        path: path.path === '' && type === 'ImplementationSpecific' ? '/' : path.path,
        pathType: type,
        backend: decodeBackend(path.backend, old, `${field}.backend`),
      };
    }),
  }));
  return [
    {
      kind: 'Ingress' as const,
      ...meta,
      annotations: metadata.annotations,
      className: spec.ingressClassName ?? null,
      defaultBackend:
        fallback && decodeBackend(fallback, old, old ? 'spec.backend' : 'spec.defaultBackend'),
      rules,
      tls: spec.tls,
      record: ingressRecord(raw, metadata.resourceVersion),
    },
  ];
}

function ingressRecord(raw: unknown, resourceVersion: string): IngressRecord {
  const parsed = v.safeParse(schema.ingressRecord, raw);
  if (!parsed.success) return { resourceVersion, addresses: [], statusManagers: [] };
  const { metadata, status } = parsed.output;
  return {
    resourceVersion,
    addresses: loadBalancerAddresses(status.loadBalancer.ingress),
    statusManagers: metadata.managedFields
      .filter(({ fieldsV1 }) => fieldsV1 && 'f:status' in fieldsV1)
      .map(({ manager }) => manager),
  };
}

type RawAddress = Omit<LoadBalancerAddress, 'ports'> & { readonly ports: readonly unknown[] };

/** As the status of Ingresses and of Services has them. */
export function loadBalancerAddresses(raw: readonly RawAddress[]): readonly LoadBalancerAddress[] {
  return raw.map(({ ip, hostname, ports }) => ({ ip, hostname, ports: ports.length }));
}

function pathType(value: string, field: string): IngressPathType {
  if (value === 'Exact' || value === 'Prefix' || value === 'ImplementationSpecific') return value;
  throw new InvalidField(
    `${field}.pathType is ${value === '' ? 'missing' : quoted(value)}; use Exact, Prefix or ImplementationSpecific`,
  );
}

type RawBackend = v.InferOutput<typeof schema.backend>;

function decodeBackend(backend: RawBackend, old: boolean, field: string): IngressBackend {
  if (backend.resource) {
    const { apiGroup, kind, name } = backend.resource;
    return { type: 'Resource', resource: `${kind}${apiGroup && `.${apiGroup}`} ${name}` };
  }
  if (old) {
    const { serviceName, servicePort } = backend;
    if (!serviceName) throw new InvalidField(`${field}.serviceName is missing`);
    if (!servicePort) throw new InvalidField(`${field}.servicePort is missing`);
    return { type: 'Service', service: serviceName, port: oldPort(servicePort) };
  }
  if (!backend.service) {
    const hint = backend.serviceName
      ? ' (serviceName is of the old networking.k8s.io/v1beta1)'
      : '';
    throw new InvalidField(`${field}.service is missing${hint}`);
  }
  const { name, port } = backend.service;
  if (port.number) return { type: 'Service', service: name, port: { number: port.number } };
  if (port.name) return { type: 'Service', service: name, port: { name: port.name } };
  throw new InvalidField(`${field}.service.port has neither number nor name`);
}

/** An IntOrString: "80" in quotes is a name to Kubernetes, but no port name may be all digits. */
function oldPort(port: string | number): ServicePortRef {
  if (typeof port === 'number') return { number: port };
  return /^\d+$/.test(port) ? { number: Number(port) } : { name: port };
}
