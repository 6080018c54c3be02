import {
  type ClassParameters,
  type Ingress,
  type KubernetesObject,
  NGINX_ANNOTATIONS,
} from './objects.ts';
import type { Reference } from './reference-watches.ts';

/**
 * The Secrets and ConfigMaps that an object names and routing needs.
 * @param controllerName whose IngressClasses count; `null`: all.
 */
export function referencesOf(
  object: KubernetesObject,
  controllerName: string | null,
): readonly Reference[] {
  if (object.kind === 'Ingress') {
    // Secrets are in the Ingress's own namespace.
    const served = object.tls.flatMap(({ secretName }): Reference[] =>
      secretName === '' ? [] : [{ kind: 'Secret', namespace: object.namespace, name: secretName }],
    );
    const authorities = authTlsSecretOf(object);
    return authorities ? [...served, authorities] : served;
  }
  if (object.kind !== 'IngressClass') return [];
  const { controller, parameters } = object;
  if (controllerName !== null && controller !== controllerName) return [];
  if (!parameters || !namesConfigMap(parameters)) return [];
  return [{ kind: 'ConfigMap', namespace: parameters.namespace, name: parameters.name }];
}

/** Whether the parameters of an IngressClass are of the one sort that we read. */
export function namesConfigMap({ apiGroup, kind, namespace, name }: ClassParameters): boolean {
  return apiGroup === '' && kind === 'ConfigMap' && namespace !== '' && name !== '';
}

const AUTH_TLS_SECRET = `${NGINX_ANNOTATIONS}auth-tls-secret`;

/**
 * The Secret with the authorities of an Ingress's clients; `null` where it names none, or one that
 * is not in its own namespace: a Secret of others is never read for it.
 */
export function authTlsSecretOf({ namespace, annotations }: Ingress): Reference | null {
  const text = annotations[AUTH_TLS_SECRET]?.trim() ?? '';
  const [, other = namespace, name] = /^(?:([^/]+)\/)?([^/]+)$/.exec(text) ?? [];
  if (name === undefined || other !== namespace) return null;
  return { kind: 'Secret', namespace, name };
}
