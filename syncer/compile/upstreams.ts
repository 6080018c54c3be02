import { isDeepStrictEqual } from 'node:util';
import type { ObjectRef, Upstream } from '../../snapshot/types.ts';
import type { ClusterState } from '../cluster-state.ts';
import type { EndpointSlice, Service, ServicePort, ServicePortRef } from '../kubernetes/objects.ts';
import { endpointsOf } from './endpoints.ts';
import type { CompileOptions } from './options.ts';
import type { Problems } from './problems.ts';

export interface UpstreamVariant {
  readonly className: string;
  readonly options: CompileOptions;
}

/**
 * Service ports as upstreams, each made once. A backend that cannot be resolved gives an upstream
 * without endpoints, which the edge answers with 503, and a problem on whoever named it.
 */
export class Upstreams {
  readonly #state: ClusterState;
  readonly #options: CompileOptions;
  readonly #problems: Problems;
  readonly #services: ReadonlyMap<string, Service>;
  readonly #slices: ReadonlyMap<string, readonly EndpointSlice[]>;
  readonly #byName = new Map<string, Upstream>();

  constructor(state: ClusterState, options: CompileOptions, problems: Problems) {
    this.#state = state;
    this.#options = options;
    this.#problems = problems;
    this.#services = new Map(state.services.map((it) => [`${it.namespace}/${it.name}`, it]));
    this.#slices = Map.groupBy(state.endpointSlices, (it) => `${it.namespace}/${it.service}`);
  }

  /** All that were asked for, with {@link Upstream.endpoints} sorted. */
  all(): readonly Upstream[] {
    return [...this.#byName.values()];
  }

  /**
   * The name of the upstream behind a Service port. `asker` is the object that has to change when
   * there is no such Service or port; `field` is where it names it. A class whose options reach the
   * port in another way than the controller's (`variant`) has an upstream of its own.
   */
  resolve(
    namespace: string,
    name: string,
    port: ServicePortRef | null,
    asker: ObjectRef,
    field: string,
    variant: UpstreamVariant | null = null,
  ): string {
    const service = this.#services.get(`${namespace}/${name}`);
    if (!service) {
      this.#problems.add(
        asker,
        'ServiceNotFound',
        `${field}: there is no Service ${namespace}/${name}; requests get 503 until it is created`,
      );
      return this.#keepEmpty(`${namespace}/${name}/${portText(port)}`);
    }
    const found = servicePort(service, port);
    if (!found) {
      this.#problems.add(asker, 'PortNotFound', portNotFound(service, port, field));
      return this.#keepEmpty(`${namespace}/${name}/${portText(port)}`);
    }
    return this.#keep(service, found, variant);
  }

  #keep(service: Service, port: ServicePort, variant: UpstreamVariant | null): string {
    const key = `${service.namespace}/${service.name}`;
    const name = `${key}/${port.port}${variant ? `@${variant.className}` : ''}`;
    if (!this.#byName.has(name)) {
      const slices = this.#slices.get(key) ?? [];
      const nodes = this.#state.nodes;
      const options = variant?.options ?? this.#options;
      const endpoints = endpointsOf({ service, port, slices, nodes, options }, this.#problems);
      this.#byName.set(name, { name, dialer: options.dialer, endpoints });
    }
    return name;
  }

  #keepEmpty(name: string): string {
    if (!this.#byName.has(name)) {
      this.#byName.set(name, { name, dialer: this.#options.dialer, endpoints: [] });
    }
    return name;
  }
}

/** The class, if its options reach endpoints in another way than those of the controller. */
export function upstreamVariant(
  className: string | null,
  options: CompileOptions,
  base: CompileOptions,
): UpstreamVariant | null {
  if (className === null || isDeepStrictEqual(reach(options), reach(base))) return null;
  return { className, options };
}

function reach({ dialer, disableExternalName, nodeAddressTypes, nodeSelector }: CompileOptions) {
  return { dialer, disableExternalName, nodeAddressTypes, nodeSelector: nodeSelector.requirements };
}

function servicePort(service: Service, ref: ServicePortRef | null): ServicePort | undefined {
  const tcp = service.ports.filter((port) => port.protocol === 'TCP');
  if (ref === null) return tcp[0];
  if ('name' in ref) return tcp.find((port) => port.name === ref.name);
  const found = tcp.find((port) => port.port === ref.number);
  if (found || service.type !== 'ExternalName') return found;
  // An ExternalName needs no ports (ServiceSpec.ports); the Ingress says which one is meant.
  return { name: '', port: ref.number, nodePort: 0, protocol: 'TCP' };
}

function portText(ref: ServicePortRef | null): string {
  if (ref === null) return '?';
  return 'name' in ref ? ref.name : String(ref.number);
}

function portNotFound(service: Service, ref: ServicePortRef | null, field: string): string {
  const ports = service.ports.map(({ name, port, protocol }) => {
    const number = protocol === 'TCP' ? String(port) : `${port}/${protocol}`;
    return name ? `${number} (${name})` : number;
  });
  const has = ports.length > 0 ? `it has ${ports.join(', ')}` : 'it has none';
  return `${field}: Service ${service.namespace}/${service.name} has no TCP port ${portText(ref)}; ${has}; requests get 503`;
}
