/** One condition on the labels of an object, as `metav1.LabelSelectorRequirement` has it. */
interface Requirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** What `kubectl get -l` takes. */
export interface LabelSelector {
  /** As it was written, for people. */
  readonly text: string;
  /** All must hold; none selects everything. */
  readonly requirements: readonly Requirement[];
}

export const EVERYTHING: LabelSelector = { text: '', requirements: [] };

/**
 * `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a` and `!a`, separated by commas.
 * Throws an Error that says what is wrong.
 */
export function parseLabelSelector(text: string): LabelSelector {
  // A comma within parentheses separates values.
  const parts = text.split(/,(?![^(]*\))/).map((it) => it.trim());
  return { text, requirements: parts.map(parseRequirement) };
}

/** As an API server does: what excludes a value selects what has no such label too. */
export function selects(
  { requirements }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  return requirements.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return operator satisfies never;
    }
  });
}

const SET = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY = /^([^\s=!]+)\s*(==|=|!=)\s*(\S*)$/;

function parseRequirement(text: string): Requirement {
  const [, setKey, word, list = ''] = SET.exec(text) ?? [];
  if (setKey !== undefined) {
    const values = list.split(',').map((it) => checkedValue(it.trim(), text));
    return { key: checkedKey(setKey, text), operator: word === 'in' ? 'In' : 'NotIn', values };
  }
  const [, key, sign, value = ''] = EQUALITY.exec(text) ?? [];
  if (key !== undefined) {
    const operator = sign === '!=' ? 'NotIn' : 'In';
    return { key: checkedKey(key, text), operator, values: [checkedValue(value, text)] };
  }
  if (text.startsWith('!')) {
    return { key: checkedKey(text.slice(1).trim(), text), operator: 'DoesNotExist', values: [] };
  }
  return { key: checkedKey(text, text), operator: 'Exists', values: [] };
}

const NAME = '[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?';
const KEY = new RegExp(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?${NAME}$`);
const VALUE = new RegExp(`^(${NAME})?$`);

function checkedKey(key: string, text: string): string {
  if (KEY.test(key)) return key;
  throw new Error(`"${text}" is no condition on a label such as team=shop, tier in (a,b) or !edge`);
}

function checkedValue(value: string, text: string): string {
  if (VALUE.test(value)) return value;
  throw new Error(`"${value}" in "${text}" is no value of a label`);
}
