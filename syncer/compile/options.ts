import type { DialerName } from '../../snapshot/types.ts';

/** What an operator can choose about compilation. Every field is filled in; see {@link DEFAULTS}. */
export interface CompileOptions {
  /** `IngressClass.spec.controller` of the classes that are ours. */
  readonly controllerName: string;
  /** The class name that counts as ours where no IngressClass object has it (files, old style). */
  readonly ingressClass: string;
  /** Take Ingresses that name no class when there is no default class either. */
  readonly watchIngressWithoutClass: boolean;
  /** Serves what nothing else matches (ingress-nginx's `--default-backend-service`). */
  readonly defaultBackendService: ServiceRef | null;
  /** Refuse Ingresses that consist of a default backend only. */
  readonly disableCatchAll: boolean;
  readonly disableExternalName: boolean;
  /** `strict`: only the namespace that claimed a host first may add routes to it. */
  readonly hostOwnership: 'shared' | 'strict';
  /** Which of a node's addresses is dialled: the first type that it has. */
  readonly nodeAddressTypes: readonly string[];
  readonly dialer: DialerName;
  /** `production` leaves out every endpoint that Cloudflare's network would refuse to dial. */
  readonly addressPolicy: 'local' | 'production';
}

export interface ServiceRef {
  readonly namespace: string;
  readonly name: string;
  /** `null`: the Service's only or first TCP port. */
  readonly port: number | null;
}

export const DEFAULTS: CompileOptions = {
  controllerName: 'causeway.dev/ingress-controller',
  ingressClass: 'causeway',
  watchIngressWithoutClass: false,
  defaultBackendService: null,
  disableCatchAll: false,
  disableExternalName: false,
  hostOwnership: 'shared',
  nodeAddressTypes: ['ExternalIP', 'InternalIP'],
  dialer: 'socket',
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
