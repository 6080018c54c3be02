import { wildcardFor } from '../../snapshot/hostname.ts';
import {
  CATCH_ALL_HOST,
  type ClientCertificatePolicy,
  type Hostname,
} from '../../snapshot/types.ts';
import { describeRef, type Ingress, refOf, type Secret } from '../kubernetes/objects.ts';
import { annotationField, asksForClients, type IngressAnnotations } from './annotations.ts';
import type { IngressClaims } from './claims.ts';
import { clientCertificatePolicy } from './client-certificates.ts';
import type { CompileOptions } from './options.ts';
import type { Problems } from './problems.ts';
import type { TlsPlan } from './tls.ts';

/** What is said about a host as a whole. */
export interface HostSettings {
  /** Whether whoever has no say in the matter is sent to https. */
  readonly httpsOnly: boolean;
  readonly strictTransportSecurity: string | null;
  readonly clientCertificates: ClientCertificatePolicy | null;
}

/** One of our Ingresses with all that it says. */
interface Speaker {
  readonly ingress: Ingress;
  readonly annotations: IngressAnnotations;
  readonly options: CompileOptions;
}

type Keys = readonly (keyof IngressAnnotations)[];

/** What one Ingress has to say as a whole: half of each of two would be what nobody asked for. */
const HSTS: Keys = ['hsts', 'hstsMaxAge', 'hstsIncludeSubdomains', 'hstsPreload'];
const AUTH_TLS: Keys = [
  'authTlsSecret',
  'authTlsVerifyClient',
  'authTlsVerifyDepth',
  'authTlsPassCertificateToUpstream',
  'authTlsMatchCn',
];

/**
 * Settles what concerns whole hosts. It is for the namespace that a host belongs to, and there for
 * the oldest Ingress that says something about it; whoever else says something else is told so.
 */
export class HostPolicies {
  readonly #owners: ReadonlyMap<Hostname, string>;
  /** With the namespace whose certificates serve each. */
  readonly #tlsHosts: ReadonlyMap<Hostname, string>;
  readonly #secrets: ReadonlyMap<string, Secret>;
  readonly #problems: Problems;
  readonly #speakers = new Map<Ingress, Speaker>();
  readonly #byHost = new Map<Hostname, HostSettings>();

  constructor(
    asked: readonly IngressClaims[],
    context: {
      readonly optionsOf: (ingress: Ingress) => CompileOptions;
      readonly owners: ReadonlyMap<Hostname, string>;
      readonly tls: TlsPlan;
      readonly secrets: ReadonlyMap<string, Secret>;
      readonly problems: Problems;
    },
  ) {
    this.#owners = context.owners;
    this.#tlsHosts = new Map(context.tls.hosts.map((it) => [it.hostname, it.owner]));
    this.#secrets = context.secrets;
    this.#problems = context.problems;
    const speakers = new Map<Hostname, Speaker[]>();
    for (const { ingress, annotations, hosts, claims } of asked) {
      const speaker = { ingress, annotations, options: context.optionsOf(ingress) };
      this.#speakers.set(ingress, speaker);
      for (const host of new Set([...hosts, ...claims.map((it) => it.hostname)])) {
        const others = speakers.get(host);
        if (others) others.push(speaker);
        else speakers.set(host, [speaker]);
      }
    }
    for (const [host, all] of speakers) this.#byHost.set(host, this.#settle(host, all));
  }

  /** Of a host that nobody named, too: that of the controller's own default backend. */
  of(hostname: Hostname): HostSettings {
    return this.#byHost.get(hostname) ?? NOTHING_SAID;
  }

  /**
   * Whether the routes of one Ingress on one host are for https only. An Ingress says so for its own
   * routes and no others; one of a namespace that the host does not belong to can only add to what
   * holds for the host.
   */
  httpsOnly(hostname: Hostname, ingress: Ingress): boolean {
    const speaker = this.#speakers.get(ingress);
    const host = this.of(hostname);
    if (!speaker) return host.httpsOnly;
    if (this.#owners.get(hostname) === ingress.namespace)
      return this.#wantsHttps(hostname, speaker);
    return host.httpsOnly || speaker.annotations.forceSslRedirect === true;
  }

  #wantsHttps(hostname: Hostname, { annotations, options }: Speaker): boolean {
    if (annotations.forceSslRedirect ?? options.forceSslRedirect) return true;
    return this.#isTls(hostname) && (annotations.sslRedirect ?? options.sslRedirect);
  }

  /** A wildcard in `spec.tls` is meant for the hosts below it as well. */
  #isTls(hostname: Hostname): boolean {
    if (this.#tlsHosts.has(hostname)) return true;
    const wildcard = wildcardFor(hostname);
    const owner = wildcard === null ? undefined : this.#tlsHosts.get(wildcard);
    return owner !== undefined && owner === this.#owners.get(hostname);
  }

  #settle(hostname: Hostname, speakers: readonly Speaker[]): HostSettings {
    const owner = this.#owners.get(hostname);
    const own = speakers.filter((it) => it.ingress.namespace === owner);
    const [first] = own;
    if (!first) return NOTHING_SAID;
    const httpsOnly = this.#wantsHttps(hostname, first);
    const foreign = speakers.filter((it) => it.ingress.namespace !== owner);
    for (const speaker of foreign) this.#reportForeign(hostname, speaker, first, httpsOnly);
    const hsts = this.#firstToSay(HSTS, hostname, own) ?? first;
    const auth = this.#firstToSay(AUTH_TLS, hostname, own, 'authTlsSecret');
    const isSecured = httpsOnly || this.#isTls(hostname);
    return {
      httpsOnly,
      strictTransportSecurity: strictTransportSecurity(hsts, isSecured),
      clientCertificates:
        auth &&
        clientCertificatePolicy(auth.ingress, auth.annotations, this.#secrets, this.#problems),
    };
  }

  /** @param asking without which an Ingress asks for nothing, whatever else it says */
  #firstToSay(
    keys: Keys,
    hostname: Hostname,
    own: readonly Speaker[],
    asking?: keyof IngressAnnotations,
  ): Speaker | null {
    const saying = own.filter(({ annotations }) =>
      keys.some((it) => annotations[it] !== undefined),
    );
    const asks = asking && saying.find(({ annotations }) => annotations[asking] !== undefined);
    const winner = asks ?? saying[0];
    if (!winner) return null;
    const rank = saying.indexOf(winner);
    for (const [index, { ingress, annotations }] of saying.entries()) {
      const key = keys.find((it) => annotations[it] !== winner.annotations[it]);
      if (key === undefined) continue;
      const because = index > rank ? 'says otherwise and is older' : 'is the one that asks for it';
      this.#ignore(ingress, key, hostname, `${describeRef(refOf(winner.ingress))} ${because}`);
    }
    return winner;
  }

  #reportForeign(
    hostname: Hostname,
    { ingress, annotations }: Speaker,
    first: Speaker,
    httpsOnly: boolean,
  ): void {
    const what = `the host belongs to namespace ${first.ingress.namespace}, which claimed it first`;
    // Where it asks for client certificates its routes are not served at all: see merge.ts.
    for (const keys of asksForClients(annotations) ? [HSTS] : [HSTS, AUTH_TLS]) {
      const key = keys.find((it) => annotations[it] !== undefined);
      if (key) this.#ignore(ingress, key, hostname, what);
    }
    if (annotations.sslRedirect === false && httpsOnly) {
      this.#ignore(ingress, 'sslRedirect', hostname, what);
    }
  }

  #ignore(
    ingress: Ingress,
    key: keyof IngressAnnotations,
    hostname: Hostname,
    because: string,
  ): void {
    const host = hostname === CATCH_ALL_HOST ? 'every other host' : hostname;
    const message = `${annotationField(key)} has no effect on ${host}: ${because}`;
    this.#problems.add(refOf(ingress), 'HostSettingIgnored', message);
  }
}

const NOTHING_SAID: HostSettings = {
  httpsOnly: false,
  strictTransportSecurity: null,
  clientCertificates: null,
};

/**
 * By option for hosts that are to be served over TLS only; by annotation for all, since somebody
 * asked for just that.
 */
function strictTransportSecurity(
  { annotations, options }: Speaker,
  isSecured: boolean,
): string | null {
  if (!(annotations.hsts ?? (options.hsts && isSecured))) return null;
  const maxAge = annotations.hstsMaxAge ?? options.hstsMaxAge;
  const subdomains = annotations.hstsIncludeSubdomains ?? options.hstsIncludeSubdomains;
  const preload = annotations.hstsPreload ?? options.hstsPreload;
  return `max-age=${maxAge}${subdomains ? '; includeSubDomains' : ''}${preload ? '; preload' : ''}`;
}
