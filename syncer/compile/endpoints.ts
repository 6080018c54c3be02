import {
  classifyAddress,
  isForbidden,
  isForbiddenInProduction,
  isRefusedInProduction,
} from '../../snapshot/address.ts';
import { compareText } from '../../snapshot/precedence.ts';
import type { Endpoint } from '../../snapshot/types.ts';
import { selects } from '../kubernetes/label-selector.ts';
import type {
  EndpointSlice,
  Node,
  Service,
  ServicePort,
  SliceEndpoint,
} from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { someOf } from '../some-of.ts';
import type { CompileOptions } from './options.ts';
import type { Problems } from './problems.ts';

export interface EndpointContext {
  readonly service: Service;
  readonly port: ServicePort;
  /** Those of the Service. */
  readonly slices: readonly EndpointSlice[];
  readonly nodes: readonly Node[];
  readonly options: CompileOptions;
}

type Found =
  | {
      readonly endpoints: readonly Endpoint[];
      /** Why there are none, where there are none. */
      readonly none: string;
      /** The way out, should Cloudflare not dial some of them. */
      readonly remedy: string;
    }
  | { readonly reason: 'ServiceNotExposed' | 'ExternalNameDisabled'; readonly message: string };

/** The addresses the edge dials for a Service port, sorted and unique; why, where there are none. */
export function endpointsOf(context: EndpointContext, problems: Problems): readonly Endpoint[] {
  const { service } = context;
  const found = find(context);
  if ('reason' in found) {
    problems.add(refOf(service), found.reason, found.message);
    return [];
  }
  if (found.endpoints.length === 0) {
    problems.add(
      refOf(service),
      'NoEndpoints',
      `${label(context)} ${found.none}; requests get 503`,
    );
    return [];
  }
  const unique = new Map(found.endpoints.map((it) => [`${it.host} ${it.port}`, it]));
  return dialable([...unique.values()], found.remedy, context, problems).sort(
    (a, b) => compareText(a.host, b.host) || a.port - b.port,
  );
}

const NONE_READY: Found = { endpoints: [], none: 'has no ready endpoint', remedy: '' };

/** The first rule that applies, as design and documentation list them. */
function find(context: EndpointContext): Found {
  const { service, port, options } = context;
  if (service.type === 'ExternalName') return externalName(context);
  if (!service.hasSelector) return sliceAddresses(context);
  if (service.type === 'NodePort' || service.type === 'LoadBalancer') {
    if (port.nodePort > 0) return nodePorts(context);
  }
  if (service.externalIPs.length > 0) {
    if (usable(context).length === 0) return NONE_READY;
    const endpoints = service.externalIPs.map((host) => ({ host, port: port.port }));
    return { endpoints, none: '', remedy: 'give it public externalIPs' };
  }
  if (options.dialer === 'vpc') return clusterAddresses(context);
  return {
    reason: 'ServiceNotExposed',
    message: `${label(context)} is of type ${service.type}${service.type === 'ClusterIP' ? '' : ' without a node port'}, which the edge cannot reach; make it NodePort or LoadBalancer, give it externalIPs, or use the vpc dialer; requests get 503`,
  };
}

function externalName({ service, port, options }: EndpointContext): Found {
  const name = `${service.namespace}/${service.name}`;
  if (options.disableExternalName) {
    return {
      reason: 'ExternalNameDisabled',
      message: `Service ${name} is an ExternalName, and --disable-external-name is set; requests get 503`,
    };
  }
  const host = service.externalName.toLowerCase().replace(/\.$/, '');
  const endpoints = host === '' ? [] : [{ host, port: port.port }];
  return {
    endpoints,
    none: 'has an empty spec.externalName',
    remedy: 'let it name a public host',
  };
}

/** A Service without selector: the IPs outside the cluster that its EndpointSlices list. */
function sliceAddresses(context: EndpointContext): Found {
  return {
    endpoints: readyAddresses(context),
    none: 'has no selector and no EndpointSlice with a ready address for this port',
    remedy: 'list public addresses in its EndpointSlices',
  };
}

function readyAddresses(context: EndpointContext): readonly Endpoint[] {
  return usable(context).flatMap(({ endpoint, ports }) => {
    // The addresses of one endpoint are interchangeable (EndpointSlice API); as kube-proxy, the first.
    const [host] = endpoint.addresses;
    return host === undefined ? [] : ports.map((port) => ({ host, port }));
  });
}

function nodePorts(context: EndpointContext): Found {
  const { service, port, nodes, options } = context;
  const ready = usable(context);
  if (ready.length === 0) return NONE_READY;
  const local = service.externalTrafficPolicy === 'Local';
  const nodesWithEndpoint = new Set(ready.map(({ endpoint }) => endpoint.nodeName));
  const endpoints = nodes.flatMap((node) => {
    if (!node.ready || node.excluded || !selects(options.nodeSelector, node.labels)) return [];
    if (local && !nodesWithEndpoint.has(node.name)) return [];
    const host = nodeAddress(node, options.nodeAddressTypes);
    return host === null ? [] : [{ host, port: port.nodePort }];
  });
  const selected = options.nodeSelector.text && ` that "${options.nodeSelector.text}" selects`;
  return {
    endpoints,
    none: local
      ? `has externalTrafficPolicy Local and no ready node${selected} with a ready endpoint`
      : `has a node port, and no node${selected} is ready with an address of type ${options.nodeAddressTypes.join(' or ')}`,
    remedy: 'give the nodes public ExternalIPs',
  };
}

function nodeAddress(node: Node, types: readonly string[]): string | null {
  for (const type of types) {
    const found = node.addresses.find((it) => it.type === type);
    if (found) return found.address;
  }
  return null;
}

/** Reached through a tunnel: the ClusterIP, or the pods of a headless Service. */
function clusterAddresses(context: EndpointContext): Found {
  const { service, port } = context;
  const ready = readyAddresses(context);
  if (ready.length === 0) return NONE_READY;
  const isHeadless = service.clusterIP === '' || service.clusterIP === 'None';
  const endpoints = isHeadless ? ready : [{ host: service.clusterIP, port: port.port }];
  return { endpoints, none: '', remedy: '' };
}

interface UsableEndpoint {
  readonly endpoint: SliceEndpoint;
  readonly ports: readonly number[];
}

/**
 * The ready endpoints that have the port; when there are none, those that terminate and still
 * serve, as kube-proxy does (KEP-1669), so that the last pods of a rolling update are used to their
 * end. Ports are matched by name, since the EndpointSlice controller has resolved `targetPort`.
 */
function usable({ slices, port }: EndpointContext): readonly UsableEndpoint[] {
  const all = slices.flatMap((slice) => {
    const matching = slice.ports.filter((it) => it.port === null || it.name === port.name);
    const ports = matching.map((it) => it.port ?? port.port);
    return ports.length === 0 ? [] : slice.endpoints.map((endpoint) => ({ endpoint, ports }));
  });
  const ready = all.filter(({ endpoint }) => endpoint.ready);
  if (ready.length > 0) return ready;
  return all.filter(({ endpoint }) => endpoint.serving && endpoint.terminating);
}

/** Leaves out what is never dialled and, under production's rules, what Cloudflare would refuse. */
function dialable(
  endpoints: readonly Endpoint[],
  remedy: string,
  context: EndpointContext,
  problems: Problems,
): Endpoint[] {
  const { options } = context;
  const classes = new Map(endpoints.map((it) => [it, classifyAddress(it.host)]));
  const classOf = (it: Endpoint) => classes.get(it) ?? 'reserved';
  const report = (
    reason: 'EndpointForbidden' | 'EndpointNotPublic',
    what: (list: string) => string,
    refused: readonly Endpoint[],
    left: readonly Endpoint[],
  ) => {
    if (refused.length === 0) return;
    const end = left.length === 0 ? '; requests get 503' : '';
    const message = `${label(context)}: ${what(listed(refused, classOf))}${end}`;
    problems.add(refOf(context.service), reason, message);
  };

  // A laptop's cluster may be on the loopback; in production no dialer gets to one, nor back into
  // Cloudflare, and who asks for it is up to something or mistaken.
  const isNever = options.addressPolicy === 'local' ? isForbidden : isForbiddenInProduction;
  const allowed = endpoints.filter((it) => !isNever(classOf(it)));
  const forbidden = endpoints.filter((it) => isNever(classOf(it)));
  const never = (list: string) => `the edge never dials ${list}; remove what leads there`;
  report('EndpointForbidden', never, forbidden, allowed);
  // Through a tunnel private addresses are the point.
  if (options.dialer === 'vpc') return allowed;
  const isPublic = (it: Endpoint) => !isRefusedInProduction(classOf(it)) && !isClusterName(it.host);
  const left = options.addressPolicy === 'local' ? allowed : allowed.filter(isPublic);
  const notDialled = (list: string) =>
    `Cloudflare's network does not dial ${list}; ${remedy} or use the vpc dialer`;
  const refused = allowed.filter((it) => !isPublic(it));
  report('EndpointNotPublic', notDialled, refused, left);
  return left;
}

const LISTED_MAX = 3;

/** `10.0.0.1:30080 (private), 10.0.0.2:30080 (private) and 7 more` */
function listed(endpoints: readonly Endpoint[], kindOf: (it: Endpoint) => string): string {
  const sorted = [...endpoints].sort((a, b) => compareText(a.host, b.host) || a.port - b.port);
  return someOf(sorted, LISTED_MAX, (it) => {
    const kind = kindOf(it);
    const host = it.host.includes(':') ? `[${it.host}]` : it.host;
    return `${host}:${it.port} (${kind === 'name' ? 'a name inside the cluster' : kind})`;
  });
}

function isClusterName(host: string): boolean {
  return host.endsWith('.svc') || host.endsWith('.cluster.local');
}

function label({ service, port }: EndpointContext): string {
  return `port ${port.name ? `${port.port} (${port.name})` : port.port} of Service ${service.namespace}/${service.name}`;
}
