import { isIP } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { compareText } from '../snapshot/precedence.ts';
import type { CompileOptions } from './compile/options.ts';
import type { Compilation } from './compile.ts';
import type { Ingress, IngressRecord, LoadBalancerAddress, Service } from './kubernetes/objects.ts';

/** One write to `status.loadBalancer.ingress`. */
export interface StatusChange {
  readonly ingress: Ingress;
  readonly kind: 'set' | 'clear';
  /** What it is to hold; none when it is cleared. */
  readonly addresses: readonly LoadBalancerAddress[];
  /** What may be there for a clear: all that we could have written. */
  readonly ourWritings: readonly (readonly LoadBalancerAddress[])[];
}

/** Managers of fields have names of at most this length (`metav1.ManagedFieldsEntry`). */
const MANAGER_LENGTH_MAX = 128;

/** Under which name the server keeps what we wrote, so that two Causeways know their own. */
export function statusManager({ controllerName, ingressClass }: CompileOptions): string {
  return `${controllerName}/${ingressClass}`.slice(0, MANAGER_LENGTH_MAX);
}

/**
 * What has to be written so that the status of our Ingresses shows where the edge is, and that of
 * no other does because of us.
 *
 * | Ingress | holds                             | = |
 * |---------|-----------------------------------|---|
 * | ours    | the addresses of the edge         | nothing |
 * | ours    | anything else                     | set |
 * | ours    | anything, and none are known      | nothing |
 * | not     | what we wrote, by its manager too | clear |
 * | not     | anything else                     | nothing |
 */
export function planStatus(
  compilation: Pick<Compilation, 'ours' | 'ignored' | 'options' | 'state'>,
): readonly StatusChange[] {
  const { ours, ignored, options, state } = compilation;
  const [controller] = options;
  const byOptions = new Map(options.map((it) => [it, edgeAddresses(it, state.services)]));
  const changes: StatusChange[] = [];
  for (const { ingress, options: own } of ours) {
    const addresses = byOptions.get(own) ?? [];
    const change = { ingress, kind: 'set' as const, addresses, ourWritings: [] };
    if (isNeeded(change, ingress.record, controller)) changes.push(change);
  }
  const ourWritings = [...byOptions.values()].filter((it) => it.length > 0);
  for (const { ingress } of ignored) {
    const change = { ingress, kind: 'clear' as const, addresses: [], ourWritings };
    if (isNeeded(change, ingress.record, controller)) changes.push(change);
  }
  return changes;
}

/** Whether a change is still to be made to an Ingress whose record is this. */
export function isNeeded(
  { kind, addresses, ourWritings }: Omit<StatusChange, 'ingress'>,
  record: IngressRecord,
  controller: CompileOptions,
): boolean {
  if (kind === 'set') return addresses.length > 0 && !sameAddresses(record.addresses, addresses);
  // Another Causeway may show the very same address; servers before 1.18 do not say who wrote it.
  const { statusManagers } = record;
  const isByUs = statusManagers.length === 0 || statusManagers.includes(statusManager(controller));
  return isByUs && ourWritings.some((it) => sameAddresses(record.addresses, it));
}

/** Whether an Ingress of ours shows the edge's addresses; `null` when no addresses are known. */
export function showsEdge(
  ingress: Ingress,
  options: CompileOptions,
  services: readonly Service[],
): boolean | null {
  const addresses = edgeAddresses(options, services);
  return addresses.length === 0 ? null : sameAddresses(ingress.record.addresses, addresses);
}

/** Where the edge is, sorted; none when nobody has said so or the Service has no address yet. */
export function edgeAddresses(
  { publishAddresses, publishService }: CompileOptions,
  services: readonly Service[],
): readonly LoadBalancerAddress[] {
  if (!publishService) return sorted(publishAddresses.map(address));
  const { namespace, name } = publishService;
  const service = services.find((it) => it.namespace === namespace && it.name === name);
  if (!service) return [];
  const named = service.type === 'ExternalName' ? [address(service.externalName)] : [];
  const assigned = service.loadBalancer.map((it) => ({ ...it, ports: 0 }));
  return sorted([...assigned, ...service.externalIPs.map(address), ...named]);
}

function address(text: string): LoadBalancerAddress {
  const isAddress = isIP(text) !== 0;
  return { ip: isAddress ? text : '', hostname: isAddress ? '' : text, ports: 0 };
}

function sorted(addresses: readonly LoadBalancerAddress[]): readonly LoadBalancerAddress[] {
  const unique = new Map(addresses.map((it) => [`${it.ip} ${it.hostname} ${it.ports}`, it]));
  return [...unique.values()].sort(
    (a, b) => compareText(a.ip, b.ip) || compareText(a.hostname, b.hostname),
  );
}

function sameAddresses(
  a: readonly LoadBalancerAddress[],
  b: readonly LoadBalancerAddress[],
): boolean {
  return isDeepStrictEqual(sorted(a), sorted(b));
}
