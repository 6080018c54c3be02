import type { ClusterState } from '../cluster-state.ts';
import type { Ingress } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import type { CompileOptions } from './options.ts';

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

export interface ClassDecision {
  readonly ours: boolean;
  /** For people, in the middle of a sentence about the Ingress. */
  readonly because: string;
}

/**
 * Whose an Ingress is: `spec.ingressClassName`, else the annotation of old, else the default class,
 * else nobody's unless the operator takes those without a class.
 */
export function ingressClassDecider(
  { ingressClasses }: Pick<ClusterState, 'ingressClasses'>,
  options: CompileOptions,
): (ingress: Ingress) => ClassDecision {
  const classes = new Map(ingressClasses.map((it) => [it.name, it]));
  const isOurController = (controller: string) => controller === options.controllerName;
  const defaults = ingressClasses.filter((it) => it.isDefault);

  const byName = (name: string, where: string): ClassDecision => {
    const named = classes.get(name);
    if (named) {
      const ours = isOurController(named.controller);
      return {
        ours,
        because: `its ${where} ${quoted(name)} belongs to controller ${named.controller}`,
      };
    }
    const ours = name === options.ingressClass;
    return {
      ours,
      because: `its ${where} is ${quoted(name)}${ours ? '' : ', which no IngressClass has'}`,
    };
  };

  return ({ className, annotations }) => {
    if (className !== null) return byName(className, 'spec.ingressClassName');
    const annotation = annotations[CLASS_ANNOTATION];
    if (annotation) return byName(annotation, `annotation ${CLASS_ANNOTATION}`);
    if (defaults.length > 0) {
      const ours = defaults.some((it) => isOurController(it.controller));
      const names = defaults.map((it) => it.name).join(', ');
      return { ours, because: `it has no class and the default class is ${names}` };
    }
    return {
      ours: options.watchIngressWithoutClass,
      because: options.watchIngressWithoutClass
        ? 'it has no class, and those without a class are served'
        : 'it has no class; set spec.ingressClassName or run with --watch-ingress-without-class',
    };
  };
}
