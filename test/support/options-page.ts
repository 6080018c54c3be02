import {
  environmentName,
  OPTION_TABLE,
  type OptionRow,
} from '../../syncer/compile/option-table.ts';
import { DEFAULTS } from '../../syncer/compile/options.ts';

/** `docs/options.md`, from the table of options. `npm run golden` writes it. */
export function optionsPage(): string {
  return `${HEAD}\n${OPTION_TABLE.map(tableLine).join('\n')}\n${classPart()}`;
}

const HEAD = `# Options of the controller

<!-- Made from syncer/compile/option-table.ts; \`CAUSEWAY_WRITE_GOLDEN=1 npx vitest run test/options.test.ts\` writes it. -->

The same options are flags of \`causeway dev\`, \`check\` and \`explain\`, and environment variables of
\`causeway sync\`. The environment takes \`true\` and \`false\` for a switch and commas for a list. On a
laptop \`--watch-ingress-without-class\` is on (\`--no-watch-ingress-without-class\` ends that), and
private and loopback addresses are dialled unless \`--production-rules\` is given.

| flag | environment | default | meaning |
|---|---|---|---|`;

function tableLine(row: OptionRow): string {
  const flag = row.choices ? row.choices.join('\\|') : (row.value ?? '');
  const standard = row.format(DEFAULTS);
  const cells = [
    `\`--${row.name}${flag && ` ${flag}`}\``,
    `\`${environmentName(row)}\``,
    standard && `\`${standard}\``,
    `${row.meaning}${row.repeatable ? '; may be repeated' : ''}`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function classPart(): string {
  const names = OPTION_TABLE.filter((it) => it.perClass).map((it) => `\`${it.name}\``);
  return `
## Options of one IngressClass

\`spec.parameters\` of an IngressClass of ours may name a ConfigMap, with the same names and texts for
keys and values. They apply to the Ingresses of that class instead of the controller's:

\`\`\`yaml
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: private }
spec:
  controller: causeway.dev/ingress-controller
  parameters: { kind: ConfigMap, name: private, namespace: causeway, scope: Namespace }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: private, namespace: causeway }
data: { dialer: vpc, node-address-types: InternalIP, host-ownership: strict }
\`\`\`

Of a class can be: ${names.join(', ')}. The others decide which
Ingresses there are at all, or about hosts that may have Ingresses of several classes. A ConfigMap that
is missing, or has a mistake anywhere, counts for nothing as a whole: the controller's options apply,
and the IngressClass gets the Problem \`ParametersNotFound\` or \`ParametersInvalid\`. Only ConfigMaps that
are named are read.

## Two Causeways in one cluster

Give each a \`controller-name\` and an \`ingress-class\` of its own, and another \`CAUSEWAY_CLUSTER\`. Neither
serves, judges or writes to the other's objects: a status is taken away only by the one that wrote it
(the server keeps the name of who writes, from controller name and class), also if both show the same
address.

## What status shows

Without \`publish-address\` and \`publish-service\` the status of Ingresses is left alone. With the latter it
is a copy of the Service's \`status.loadBalancer\`, \`externalIPs\` and, for an ExternalName, its name; as
long as the Service has no address, nothing changes.

## Addresses that are never dialled

Link-local, metadata, unspecified and multicast addresses, and in a cluster loopback and Cloudflare's
own, are refused with \`EndpointForbidden\` from wherever they come: EndpointSlices, \`externalName\` and
\`externalIPs\`, in every way of writing them that a resolver would understand. Names are judged as they
are written: the syncer resolves none, since what it would see need not be what the edge sees later. The
worker looks at every address once more before it dials. What a name leads to is for the network to
refuse that dials it: Cloudflare's does not connect to private or loopback addresses, nor to its own. A Workers VPC network resolves in your network and reaches what its
tunnel reaches; with that dialer set \`disable-external-name\` unless everybody who may write Services may
also reach everything there.
`;
}
