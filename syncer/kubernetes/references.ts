import type { ClassParameters, KubernetesObject } from './objects.ts';
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
    return object.tls.flatMap(({ secretName }) =>
      secretName === '' ? [] : [{ kind: 'Secret', namespace: object.namespace, name: secretName }],
    );
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
