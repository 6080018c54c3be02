import { isIngressHost } from '../../snapshot/hostname.ts';
import { canonicalRulePath, pathMatch } from '../../snapshot/path.ts';
import { CATCH_ALL_HOST, type Hostname, type PathMatch } from '../../snapshot/types.ts';
import type { Ingress, IngressBackend, IngressRule } from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import { annotationsOf, type IngressAnnotations } from './annotations.ts';
import type { CompileOptions } from './options.ts';
import type { Problems } from './problems.ts';

export type ServiceBackend = Extract<IngressBackend, { type: 'Service' }>;

/** What one rule of one Ingress asks for. `match` is `null` for a default backend. */
export interface Claim {
  readonly hostname: Hostname;
  readonly match: PathMatch | null;
  readonly backend: ServiceBackend;
  readonly ingress: Ingress;
  /** Where in the Ingress it stands, e.g. `spec.rules[0].http.paths[2]`. */
  readonly field: string;
}

export interface IngressClaims {
  readonly ingress: Ingress;
  readonly annotations: IngressAnnotations;
  readonly claims: readonly Claim[];
  /** Every host the Ingress names, also those for which it has no usable path. */
  readonly hosts: readonly Hostname[];
}

/** Everything an Ingress asks for; what it asks for wrongly becomes a problem and nothing else. */
export function claimsOf(
  ingress: Ingress,
  options: CompileOptions,
  problems: Problems,
): IngressClaims {
  const claims: Claim[] = [];
  const hosts = new Set<Hostname>();
  for (const [index, rule] of ingress.rules.entries()) {
    const hostname = hostnameOf(rule, `spec.rules[${index}].host`, ingress, problems);
    if (hostname === null) continue;
    hosts.add(hostname);
    claims.push(...pathClaims(rule, index, hostname, ingress, problems));
  }
  claims.push(...defaultBackendClaims(ingress, [...hosts], options, problems));
  const annotations = annotationsOf(ingress, problems);
  return { ingress, annotations, claims, hosts: [...hosts] };
}

function hostnameOf(rule: IngressRule, field: string, ingress: Ingress, problems: Problems) {
  if (rule.host === '') return CATCH_ALL_HOST;
  const host = rule.host.toLowerCase();
  if (isIngressHost(host)) return host;
  problems.add(
    refOf(ingress),
    'InvalidHost',
    `${field} ${quoted(rule.host)} is not a DNS name such as app.example.com or *.example.com;${hintFor(host)} the rule is not served`,
  );
  return null;
}

/** A name in another script is written in punycode, by DNS and so by Kubernetes. */
function hintFor(host: string): string {
  const url = `http://${host}`;
  const isAscii = /^\p{ASCII}*$/u.test(host);
  const punycode = !isAscii && URL.canParse(url) ? new URL(url).hostname : '';
  return isIngressHost(punycode) ? ` write it as ${punycode};` : '';
}

function pathClaims(
  rule: IngressRule,
  ruleIndex: number,
  hostname: Hostname,
  ingress: Ingress,
  problems: Problems,
): readonly Claim[] {
  return rule.paths.flatMap(({ path, pathType, backend }, index) => {
    const field = `spec.rules[${ruleIndex}].http.paths[${index}]`;
    const canonical = canonicalRulePath(path);
    if ('error' in canonical) {
      const message = `${field}.path ${quoted(path)} ${canonical.error}; the path is not served`;
      problems.add(refOf(ingress), 'InvalidPath', message);
      return [];
    }
    if (!isService(backend, `${field}.backend`, ingress, problems)) return [];
    const match = pathMatch(pathType === 'Exact' ? 'Exact' : 'Prefix', canonical.path);
    return [{ hostname, match, backend, ingress, field }];
  });
}

/**
 * An Ingress with rules serves what its own hosts leave over; one without rules, everything. So a
 * team's default backend cannot reach the hosts of others.
 */
function defaultBackendClaims(
  ingress: Ingress,
  hosts: readonly Hostname[],
  options: CompileOptions,
  problems: Problems,
): readonly Claim[] {
  const backend = ingress.defaultBackend;
  const field = 'spec.defaultBackend';
  if (!backend || !isService(backend, field, ingress, problems)) return [];
  const isCatchAll = ingress.rules.length === 0;
  if (isCatchAll && options.disableCatchAll) {
    problems.add(
      refOf(ingress),
      'CatchAllDisabled',
      'an Ingress of a default backend only is not served, since --disable-catch-all is set; give it a rule with a host',
    );
    return [];
  }
  const served = isCatchAll ? [CATCH_ALL_HOST] : hosts;
  return served.map((hostname) => ({ hostname, match: null, backend, ingress, field }));
}

function isService(
  backend: IngressBackend,
  field: string,
  ingress: Ingress,
  problems: Problems,
): backend is ServiceBackend {
  if (backend.type === 'Service') return true;
  problems.add(
    refOf(ingress),
    'UnsupportedBackend',
    `${field} is the resource ${quoted(backend.resource)}; only backends of type service are served`,
  );
  return false;
}
