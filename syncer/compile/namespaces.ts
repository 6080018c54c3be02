import { selects } from '../kubernetes/label-selector.ts';
import type { Namespace } from '../kubernetes/objects.ts';
import type { CompileOptions } from './options.ts';

/** Why the Ingresses of a namespace are left alone; `null` where they are not. */
export function namespaceDecider(
  namespaces: readonly Namespace[],
  { watchNamespaces, watchNamespaceSelector: selector }: CompileOptions,
): (namespace: string) => string | null {
  const labels = new Map(namespaces.map((it) => [it.name, it.labels]));
  return (namespace) => {
    if (watchNamespaces.length > 0 && !watchNamespaces.includes(namespace)) {
      return `its namespace is none of those watched (--watch-namespace ${watchNamespaces.join(',')})`;
    }
    if (selector.requirements.length === 0) return null;
    const flag = `--watch-namespace-selector "${selector.text}"`;
    const found = labels.get(namespace);
    if (!found) return `there is no Namespace ${namespace} whose labels ${flag} could select`;
    return selects(selector, found) ? null : `${flag} does not select its namespace`;
  };
}
