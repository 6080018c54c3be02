import { hostnameCandidates, isIngressHost } from '../../snapshot/hostname.ts';
import { compareText } from '../../snapshot/precedence.ts';
import { CATCH_ALL_HOST, type Hostname } from '../../snapshot/types.ts';
import type { Ingress, Secret } from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import { someOf } from '../some-of.ts';
import { type Certificate, certificateOf, coversHost } from './certificate.ts';
import type { IngressClaims } from './claims.ts';
import type { Problems } from './problems.ts';

/** One entry of `spec.tls` of one Ingress. */
export interface TlsClaim {
  readonly ingress: Ingress;
  /** `spec.tls[0]` */
  readonly field: string;
  /** The hosts it is for: those that it names, or else those of the Ingress's rules. */
  readonly hosts: readonly Hostname[];
  /** Empty where the certificate comes from elsewhere. */
  readonly secretName: string;
  /** Of the Secret; `null` where there is none that could be served. */
  readonly certificate: Certificate | null;
}

/** A host that is to be served over TLS. */
export interface TlsHost {
  readonly hostname: Hostname;
  /** The namespace that the host belongs to. */
  readonly owner: string;
  /**
   * Claims of that namespace whose certificate covers the host, best first. Whether it is valid by
   * now is not looked at here, but in `validity.ts`.
   */
  readonly candidates: readonly TlsCandidate[];
}

export interface TlsCandidate extends TlsClaim {
  readonly certificate: Certificate;
}

/** All that is asked for in `spec.tls`. */
export interface TlsPlan {
  /** Oldest Ingress first. */
  readonly claims: readonly TlsClaim[];
  /** By name, ascending. */
  readonly hosts: readonly TlsHost[];
}

/**
 * Reads what `spec.tls` asks for and reports what cannot be had.
 * @param owners which namespace each host of a rule belongs to
 */
export function tlsPlan(
  asked: readonly Pick<IngressClaims, 'ingress' | 'hosts'>[],
  owners: ReadonlyMap<Hostname, string>,
  secrets: ReadonlyMap<string, Secret>,
  problems: Problems,
): TlsPlan {
  const claims = asked.flatMap(({ ingress, hosts }) =>
    ingress.tls.map((entry, index): TlsClaim => {
      const field = `spec.tls[${index}]`;
      const { secretName } = entry;
      const certificate = certificateNamed(secretName, ingress, field, secrets, problems);
      const named = namedHosts(entry.hosts, ingress, field, problems);
      // Defaults to the hosts that the Ingress serves anyway (networking.k8s.io/v1 IngressTLS).
      const served = ingress.rules.length > 0 ? hosts : [CATCH_ALL_HOST];
      const meant = entry.hosts.length > 0 ? named : served;
      return { ingress, field, hosts: meant, secretName, certificate };
    }),
  );
  const byHost = new Map<Hostname, { readonly owner: string; candidates: TlsCandidate[] }>();
  for (const claim of claims) {
    const { namespace } = claim.ingress;
    for (const hostname of claim.hosts) {
      const owner = byHost.get(hostname)?.owner ?? ownerOf(hostname, owners) ?? namespace;
      if (owner !== namespace) {
        reportForeignHost(claim, hostname, owner, problems);
        continue;
      }
      const host = byHost.get(hostname) ?? { owner, candidates: [] };
      byHost.set(hostname, host);
      host.candidates.push(...candidate(claim, hostname, problems));
    }
  }
  const hosts = [...byHost].map(([hostname, host]) => ({ hostname, ...host }));
  return { claims, hosts: hosts.sort((a, b) => compareText(a.hostname, b.hostname)) };
}

/** Whose requests for a host are: also where only a wildcard or the catch-all host serves it. */
function ownerOf(hostname: Hostname, owners: ReadonlyMap<Hostname, string>): string | undefined {
  for (const candidate of hostnameCandidates(hostname)) {
    const owner = owners.get(candidate);
    if (owner !== undefined) return owner;
  }
  return undefined;
}

function certificateNamed(
  secretName: string,
  ingress: Ingress,
  field: string,
  secrets: ReadonlyMap<string, Secret>,
  problems: Problems,
): Certificate | null {
  if (secretName === '') return null;
  const name = `${ingress.namespace}/${secretName}`;
  const secret = secrets.get(name);
  if (!secret) {
    const message = `${field}.secretName: there is no Secret ${name}`;
    problems.add(refOf(ingress), 'SecretNotFound', `${message}; ${OTHERWISE}`);
    return null;
  }
  const certificate = certificateOf(secret);
  if (typeof certificate !== 'string') return certificate;
  const message = `${field}.secretName: Secret ${name} cannot be served: ${certificate}`;
  problems.add(refOf(ingress), 'SecretInvalid', `${message}; ${OTHERWISE}`);
  return null;
}

/** What becomes of the hosts meanwhile. */
export const OTHERWISE =
  'its hosts get another of this namespace, or the default one, which nobody trusts';

function namedHosts(
  hosts: readonly string[],
  ingress: Ingress,
  field: string,
  problems: Problems,
): readonly Hostname[] {
  return hosts.flatMap((text, index) => {
    const host = text.toLowerCase();
    if (isIngressHost(host)) return [host];
    const message = `${field}.hosts[${index}] ${quoted(text)} is not a DNS name such as app.example.com or *.example.com`;
    problems.add(refOf(ingress), 'InvalidHost', message);
    return [];
  });
}

function candidate(
  claim: TlsClaim,
  hostname: Hostname,
  problems: Problems,
): readonly TlsCandidate[] {
  const { certificate, ingress, field, secretName } = claim;
  if (!certificate) return [];
  // Which name it is for is known with the connection only.
  if (hostname === CATCH_ALL_HOST || coversHost(certificate.names, hostname)) {
    return [{ ...claim, certificate }];
  }
  const names = someOf(certificate.names, NAMES_MAX);
  const message = `${field}: the certificate of Secret ${ingress.namespace}/${secretName} is for ${names} and does not cover ${hostname}`;
  problems.add(refOf(ingress), 'SecretInvalid', `${message}; ${OTHERWISE}`);
  return [];
}

const NAMES_MAX = 5;

function reportForeignHost(
  { ingress, field }: TlsClaim,
  hostname: Hostname,
  owner: string,
  problems: Problems,
): void {
  const whose = hostname === CATCH_ALL_HOST ? 'the catch-all host' : `host ${hostname}`;
  const message = `${field}: ${whose} belongs to namespace ${owner}, which claimed it first; only its certificates serve it`;
  problems.add(refOf(ingress), 'HostSettingIgnored', message);
}
