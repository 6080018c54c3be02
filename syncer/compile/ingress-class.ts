import type { ClusterState } from '../cluster-state.ts';
import type { Ingress } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import { namespaceDecider } from './namespaces.ts';
import type { CompileOptions } from './options.ts';

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

/** What decides whose an Ingress is. */
export type ClassedIngress = Pick<Ingress, 'namespace' | 'className' | 'annotations'>;

export interface ClassDecision {
  readonly ours: boolean;
  /** Name of the IngressClass object that made it ours; `null` without one. */
  readonly className: string | null;
  /** For people, in the middle of a sentence about the Ingress. */
  readonly because: string;
}

/**
 * Whose an Ingress is: `spec.ingressClassName`, else the annotation of old, else the default class,
 * else nobody's unless the operator takes those without a class. In a namespace that is not watched,
 * nobody's.
 */
export function ingressClassDecider(
  { ingressClasses, namespaces }: Pick<ClusterState, 'ingressClasses' | 'namespaces'>,
  options: CompileOptions,
): (ingress: ClassedIngress) => ClassDecision {
  const classes = new Map(ingressClasses.map((it) => [it.name, it]));
  const isOurController = (controller: string) => controller === options.controllerName;
  const defaults = ingressClasses.filter((it) => it.isDefault);
  const unwatched = namespaceDecider(namespaces, options);

  const byName = (name: string, where: string): ClassDecision => {
    const named = classes.get(name);
    if (named) {
      const ours = isOurController(named.controller);
      const because = `its ${where} ${quoted(name)} belongs to controller ${named.controller}`;
      return { ours, className: name, because };
    }
    const ours = name === options.ingressClass;
    const because = `its ${where} is ${quoted(name)}${ours ? '' : ', which no IngressClass has'}`;
    return { ours, className: null, because };
  };

  const byDefault = (): ClassDecision => {
    const our = defaults.find((it) => isOurController(it.controller));
    const names = defaults.map((it) => it.name).join(', ');
    const because = `it has no class and the default class is ${names}`;
    if (our && options.defaultClass === 'ignored') {
      const why = `${because}, which the controller ignores (--default-class ignored)`;
      return { ours: false, className: null, because: why };
    }
    return { ours: our !== undefined, className: our?.name ?? null, because };
  };

  const byClass = ({ className, annotations }: ClassedIngress): ClassDecision => {
    if (className !== null) return byName(className, 'spec.ingressClassName');
    const annotation = annotations[CLASS_ANNOTATION];
    if (annotation) return byName(annotation, `annotation ${CLASS_ANNOTATION}`);
    if (defaults.length > 0) return byDefault();
    const because = options.watchIngressWithoutClass
      ? 'it has no class, and those without a class are served'
      : 'it has no class; set spec.ingressClassName or run with --watch-ingress-without-class';
    return { ours: options.watchIngressWithoutClass, className: null, because };
  };

  return (ingress) => {
    const decision = byClass(ingress);
    const because = decision.ours ? unwatched(ingress.namespace) : null;
    return because === null ? decision : { ...decision, ours: false, because };
  };
}
