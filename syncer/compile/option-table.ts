import { isIP } from 'node:net';
import { parseLabelSelector } from '../kubernetes/label-selector.ts';
import { type CompileOptions, parseServiceRef, type ServiceName } from './options.ts';

/** One option of the controller, wherever it is given. */
export interface OptionRow {
  /** `watch-namespace`: a flag with two dashes, and the key in the ConfigMap of an IngressClass. */
  readonly name: string;
  /** What stands for the value, `<ns/name>`; `null` for an option that is on or off. */
  readonly value: string | null;
  readonly choices: readonly string[] | null;
  /** Whether the flag may be given again, to add to the list. */
  readonly repeatable: boolean;
  /** Whether a ConfigMap may set it for the Ingresses of one IngressClass. */
  readonly perClass: boolean;
  readonly meaning: string;
  /** Throws an Error that says what is wrong. `before`: what earlier flags gave. */
  parse(text: string, before?: Partial<CompileOptions>): Partial<CompileOptions>;
  /** As {@link parse} would read it; empty for nothing. */
  format(options: CompileOptions): string;
}

type Parts = Pick<OptionRow, 'meaning'> &
  Partial<Pick<OptionRow, 'value' | 'choices' | 'repeatable' | 'perClass'>>;

/**
 * The one list of options: flags of `dev`, `check` and `explain`, environment of `sync`, ConfigMaps
 * of IngressClasses and `docs/options.md` are all made from it.
 *
 * Per class are those that decide about the Ingresses of the class alone. Not which Ingresses there
 * are (that is decided before the class is known), and not the default backend of all hosts, since a
 * host may have Ingresses of several classes.
 */
export const OPTION_TABLE: readonly OptionRow[] = [
  textRow('controller-name', 'controllerName', {
    value: '<name>',
    meaning: '`spec.controller` of our IngressClasses',
  }),
  textRow('ingress-class', 'ingressClass', {
    value: '<name>',
    meaning: 'class that is ours where no IngressClass object has this name',
  }),
  flagRow('watch-ingress-without-class', 'watchIngressWithoutClass', {
    meaning: 'serve Ingresses that name no class, where no IngressClass is the default',
  }),
  row('default-class', 'defaultClass', (text) => oneOf(text, ['served', 'ignored']), String, {
    choices: ['served', 'ignored'],
    meaning: 'Ingresses that name no class, where our IngressClass is the default',
  }),
  listRow('watch-namespace', 'watchNamespaces', namespaceName, {
    value: '<namespace>',
    repeatable: true,
    meaning: 'serve Ingresses of this namespace only, and watch no other',
  }),
  row('watch-namespace-selector', 'watchNamespaceSelector', parseLabelSelector, (it) => it.text, {
    value: '<selector>',
    meaning: 'serve Ingresses of namespaces with these labels only, such as `team in (shop,pay)`',
  }),
  row('default-backend-service', 'defaultBackendService', parseServiceRef, serviceText, {
    value: '<ns/name[:port]>',
    meaning: 'serves what nothing else matches, on every host',
  }),
  flagRow('disable-catch-all', 'disableCatchAll', {
    perClass: true,
    meaning: 'refuse Ingresses of a default backend only',
  }),
  flagRow('disable-external-name', 'disableExternalName', {
    perClass: true,
    meaning: 'refuse Services of type ExternalName',
  }),
  row('host-ownership', 'hostOwnership', (text) => oneOf(text, ['shared', 'strict']), String, {
    choices: ['shared', 'strict'],
    perClass: true,
    meaning: 'whether other namespaces than the first may add paths to a host',
  }),
  listRow('node-address-types', 'nodeAddressTypes', (text) => text, {
    value: '<types>',
    perClass: true,
    meaning: 'which address of a node is dialled: the first of these types that it has',
  }),
  row('node-selector', 'nodeSelector', parseLabelSelector, (it) => it.text, {
    value: '<selector>',
    perClass: true,
    meaning: 'dial the node ports of nodes with these labels only',
  }),
  row('dialer', 'dialer', (text) => oneOf(text, ['socket', 'vpc']), String, {
    choices: ['socket', 'vpc'],
    perClass: true,
    meaning: 'how the edge reaches endpoints: over the Internet, or through a Workers VPC network',
  }),
  flagRow('ssl-redirect', 'sslRedirect', {
    perClass: true,
    meaning: 'send plain requests for hosts under `spec.tls` to https (308)',
  }),
  flagRow('force-ssl-redirect', 'forceSslRedirect', {
    perClass: true,
    meaning: 'send plain requests for all other hosts to https as well',
  }),
  flagRow('hsts', 'hsts', {
    perClass: true,
    meaning: 'tell browsers to use hosts under `spec.tls` by https only; it cannot be taken back',
  }),
  row('hsts-max-age', 'hstsMaxAge', seconds, String, {
    value: '<seconds>',
    perClass: true,
    meaning: 'for how long they are to remember that',
  }),
  flagRow('hsts-include-subdomains', 'hstsIncludeSubdomains', {
    perClass: true,
    meaning: 'for all names below the host too, whoever serves them',
  }),
  flagRow('hsts-preload', 'hstsPreload', {
    perClass: true,
    meaning: 'allow the host to be put on the list that browsers are delivered with',
  }),
  listRow('publish-address', 'publishAddresses', edgeAddress, {
    value: '<address>',
    repeatable: true,
    perClass: true,
    meaning: 'hostname or IP address of the edge that the status of Ingresses shows',
  }),
  row('publish-service', 'publishService', serviceName, serviceText, {
    value: '<ns/name>',
    perClass: true,
    meaning: 'Service whose addresses the status of Ingresses shows instead',
  }),
];

/** `CAUSEWAY_WATCH_NAMESPACE`. */
export function environmentName({ name }: Pick<OptionRow, 'name'>): string {
  return `CAUSEWAY_${name.toUpperCase().replaceAll('-', '_')}`;
}

function row<K extends keyof CompileOptions>(
  name: string,
  field: K,
  parse: (text: string, before: CompileOptions[K] | undefined) => CompileOptions[K],
  format: (value: CompileOptions[K]) => string,
  parts: Parts,
): OptionRow {
  const { choices = null } = parts;
  return {
    value: choices ? '<mode>' : null,
    choices,
    repeatable: false,
    perClass: false,
    ...parts,
    name,
    parse: (text, before = {}) => ({ [field]: parse(text, before[field]) }),
    format: (options) => format(options[field]),
  };
}

function textRow(name: string, field: 'controllerName' | 'ingressClass', parts: Parts): OptionRow {
  return row(name, field, nonEmpty, String, parts);
}

/** The fields that are on or off. */
type Flag = {
  [K in keyof CompileOptions]: CompileOptions[K] extends boolean ? K : never;
}[keyof CompileOptions];

function flagRow(name: string, field: Flag, parts: Parts): OptionRow {
  return row(name, field, (text) => oneOf(text, ['true', 'false']) === 'true', String, parts);
}

type List = 'watchNamespaces' | 'nodeAddressTypes' | 'publishAddresses';

/** Separated by commas. */
function listRow(
  name: string,
  field: List,
  parse: (text: string) => string,
  parts: Parts,
): OptionRow {
  const parseList = (text: string, before: readonly string[] = []) => {
    const items = text.split(',').map((it) => it.trim());
    const values = items.filter((it) => it !== '').map(parse);
    if (values.length === 0) throw new Error('it names nothing');
    return parts.repeatable ? [...new Set([...before, ...values])] : values;
  };
  return row(name, field, parseList, (values) => values.join(','), parts);
}

function oneOf<T extends string>(text: string, allowed: readonly T[]): T {
  const found = allowed.find((it) => it === text);
  if (found === undefined) throw new Error(`"${text}" is none of ${allowed.join(', ')}`);
  return found;
}

function nonEmpty(text: string): string {
  if (text.trim() === '') throw new Error('it is empty');
  return text.trim();
}

function seconds(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new Error(`"${text}" is not a whole number of seconds`);
  return Number(text);
}

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

function namespaceName(text: string): string {
  if (!DNS_LABEL.test(text)) throw new Error(`"${text}" is not the name of a namespace`);
  return text;
}

/** Kubernetes refuses a status whose hostname is no DNS name or is an IP address. */
function edgeAddress(text: string): string {
  const isName = text.length <= 253 && text.split('.').every((label) => DNS_LABEL.test(label));
  if (isIP(text) === 0 && !(isName && !/^[\d.]+$/.test(text))) {
    throw new Error(`"${text}" is neither an IP address nor a hostname in lower case`);
  }
  return text;
}

function serviceName(text: string): ServiceName {
  const { namespace, name, port } = parseServiceRef(text);
  if (port !== null) throw new Error(`"${text}" is not namespace/name`);
  return { namespace, name };
}

function serviceText(ref: (ServiceName & { readonly port?: number | null }) | null): string {
  if (!ref) return '';
  return `${ref.namespace}/${ref.name}${ref.port ? `:${ref.port}` : ''}`;
}
