import type { CompileOptions } from './compile/options.ts';
import type { KubernetesKind } from './kubernetes/objects.ts';
import { RESOURCES } from './kubernetes/resource.ts';

/** What of a cluster has to be watched to compile with these options. */
export interface WatchScope {
  readonly controllerName: string;
  readonly kinds: readonly KubernetesKind[];
  /** `null`: all. */
  readonly namespaces: readonly string[] | null;
}

/**
 * Namespaces are watched for a selector only, so that nobody else needs the permission. The Services
 * that options name are read where they are, also outside the namespaces that are watched; Ingresses
 * there are left alone all the same.
 */
export function watchScope(options: CompileOptions): WatchScope {
  const { watchNamespaces, watchNamespaceSelector, defaultBackendService, publishService } =
    options;
  const named = [defaultBackendService, publishService].flatMap((it) => (it ? [it.namespace] : []));
  const all = Object.keys(RESOURCES) as KubernetesKind[];
  const selects = watchNamespaceSelector.requirements.length > 0;
  return {
    controllerName: options.controllerName,
    kinds: all.filter((kind) => kind !== 'Namespace' || selects),
    namespaces:
      watchNamespaces.length === 0 ? null : [...new Set([...watchNamespaces, ...named])].sort(),
  };
}
