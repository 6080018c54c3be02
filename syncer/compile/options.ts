import type { DialerName } from '../../snapshot/types.ts';
import { EVERYTHING, type LabelSelector } from '../kubernetes/label-selector.ts';

/**
 * What an operator can choose about the controller. Every field is filled in, see {@link DEFAULTS};
 * how each is written as a flag, in the environment and in a ConfigMap is in `option-table.ts`.
 */
export interface CompileOptions {
  /** `IngressClass.spec.controller` of the classes that are ours. */
  readonly controllerName: string;
  /** The class name that counts as ours where no IngressClass object has it (files, old style). */
  readonly ingressClass: string;
  /** Take Ingresses that name no class when there is no default class either. */
  readonly watchIngressWithoutClass: boolean;
  /** Whether Ingresses that name no class are ours when the default IngressClass is. */
  readonly defaultClass: 'served' | 'ignored';
  /** Ingresses of other namespaces are left alone; none: those of all are served. */
  readonly watchNamespaces: readonly string[];
  /** Ingresses of namespaces with other labels are left alone. */
  readonly watchNamespaceSelector: LabelSelector;
  /** Serves what nothing else matches (ingress-nginx's `--default-backend-service`). */
  readonly defaultBackendService: ServiceRef | null;
  /** Refuse Ingresses that consist of a default backend only. */
  readonly disableCatchAll: boolean;
  readonly disableExternalName: boolean;
  /** `strict`: only the namespace that claimed a host first may add routes to it. */
  readonly hostOwnership: 'shared' | 'strict';
  /** Which of a node's addresses is dialled: the first type that it has. */
  readonly nodeAddressTypes: readonly string[];
  /** Nodes with other labels are not dialled. */
  readonly nodeSelector: LabelSelector;
  readonly dialer: DialerName;
  /** Hosts under `spec.tls` send plain requests to https. */
  readonly sslRedirect: boolean;
  /** So do all others. */
  readonly forceSslRedirect: boolean;
  /** Hosts that send plain requests to https tell browsers to remember that (RFC 6797). */
  readonly hsts: boolean;
  /** Seconds. */
  readonly hstsMaxAge: number;
  readonly hstsIncludeSubdomains: boolean;
  readonly hstsPreload: boolean;
  /** What the status of Ingresses shows: IP addresses and hostnames of the edge. */
  readonly publishAddresses: readonly string[];
  /** The status of Ingresses is a copy of this Service's addresses. */
  readonly publishService: ServiceName | null;
  /** `production` leaves out every endpoint that Cloudflare's network would refuse to dial. */
  readonly addressPolicy: 'local' | 'production';
}

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

export interface ServiceRef extends ServiceName {
  /** `null`: the Service's only or first TCP port. */
  readonly port: number | null;
}

export const DEFAULTS: CompileOptions = {
  controllerName: 'causeway.dev/ingress-controller',
  ingressClass: 'causeway',
  watchIngressWithoutClass: false,
  defaultClass: 'served',
  watchNamespaces: [],
  watchNamespaceSelector: EVERYTHING,
  defaultBackendService: null,
  disableCatchAll: false,
  disableExternalName: false,
  hostOwnership: 'shared',
  nodeAddressTypes: ['ExternalIP', 'InternalIP'],
  nodeSelector: EVERYTHING,
  dialer: 'socket',
  sslRedirect: true,
  forceSslRedirect: false,
  hsts: false,
  hstsMaxAge: 31_536_000,
  hstsIncludeSubdomains: false,
  hstsPreload: false,
  publishAddresses: [],
  publishService: null,
  addressPolicy: 'production',
};

/** `namespace/name` or `namespace/name:port`. Throws an Error that says what is wrong. */
export function parseServiceRef(text: string): ServiceRef {
  const parts = /^([^/:]+)\/([^/:]+)(?::(\d+))?$/.exec(text);
  const [, namespace, name, port] = parts ?? [];
  if (!namespace || !name)
    throw new Error(`"${text}" is not namespace/name or namespace/name:port`);
  return { namespace, name, port: port === undefined ? null : Number(port) };
}
