import type { ClusterState } from '../cluster-state.ts';
import type { ConfigMap, IngressClass } from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { namesConfigMap } from '../kubernetes/references.ts';
import { OPTION_TABLE } from './option-table.ts';
import type { CompileOptions } from './options.ts';
import type { Problems } from './problems.ts';

/**
 * The options of each of our IngressClasses that has its own: the controller's, but for what the
 * ConfigMap of `spec.parameters` says. One that is missing or wrong counts for nothing as a whole, so
 * that nobody has to guess which half of it applies.
 */
export function classOptions(
  { ingressClasses, configMaps }: Pick<ClusterState, 'ingressClasses' | 'configMaps'>,
  options: CompileOptions,
  problems: Problems,
): ReadonlyMap<string, CompileOptions> {
  const byName = new Map(configMaps.map((it) => [`${it.namespace}/${it.name}`, it]));
  const chosen = new Map<string, CompileOptions>();
  for (const ingressClass of ingressClasses) {
    const { name, controller, parameters } = ingressClass;
    if (controller !== options.controllerName || !parameters) continue;
    const report = reporter(ingressClass, problems);
    if (!namesConfigMap(parameters)) {
      report('ParametersInvalid', 'must name a ConfigMap, with its namespace and scope Namespace');
      continue;
    }
    const where = `${parameters.namespace}/${parameters.name}`;
    const configMap = byName.get(where);
    if (!configMap) {
      report('ParametersNotFound', `there is no ConfigMap ${where}`);
      continue;
    }
    const { changes, mistakes } = readParameters(configMap);
    if (mistakes.length === 0) chosen.set(name, { ...options, ...changes });
    else report('ParametersInvalid', `in ConfigMap ${where}, ${mistakes.join('; ')}`);
  }
  return chosen;
}

function reporter(ingressClass: IngressClass, problems: Problems) {
  return (reason: 'ParametersInvalid' | 'ParametersNotFound', what: string) =>
    problems.add(
      refOf(ingressClass),
      reason,
      `spec.parameters: ${what}; the options of the controller apply instead`,
    );
}

function readParameters({ data }: ConfigMap): {
  readonly changes: Partial<CompileOptions>;
  readonly mistakes: readonly string[];
} {
  const mistakes: string[] = [];
  let changes: Partial<CompileOptions> = {};
  for (const [key, text] of Object.entries(data)) {
    const row = OPTION_TABLE.find((it) => it.name === key);
    if (!row) mistakes.push(`${key} is no option`);
    else if (!row.perClass) mistakes.push(`${key} is an option of the controller, not of a class`);
    else if (text === null) mistakes.push(`${key} is not text; put it in quotes`);
    else {
      try {
        changes = { ...changes, ...row.parse(text) };
      } catch (error) {
        mistakes.push(`${key}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  return { changes, mistakes };
}
