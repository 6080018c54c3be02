import { wildcardFor } from '../../snapshot/hostname.ts';
import type { Hostname } from '../../snapshot/types.ts';
import type { Certificate } from '../compile/certificate.ts';
import type { TimedCompilation } from '../compile/validity.ts';

type Served = Pick<TimedCompilation, 'ours' | 'tls' | 'certificates'>;

interface Trespass {
  readonly hostname: Hostname;
  readonly owner: string;
}

interface FirstClaim {
  readonly hostname: Hostname;
  readonly namespace: string;
  /** The place of the Ingress among all of ours, the oldest first. */
  readonly rank: number;
}

/**
 * Hosts of other namespaces that a certificate would serve if it were uploaded: Cloudflare serves one
 * for all of its names, whoever asked for it. By a Secret with the right names a namespace could put
 * a certificate that nobody trusts, or its own, under the hosts of another.
 *
 * Who came first may keep what he has: a host that somebody claims later below a wildcard does not
 * take the certificate away. Nor does it matter where the host's own namespace has the same one.
 */
export class Trespasses {
  readonly #certificates: Served['certificates'];
  readonly #byName = new Map<Hostname, FirstClaim>();
  /** By what comes after the first label. */
  readonly #byParent = new Map<string, FirstClaim[]>();
  readonly #ranks = new Map<Certificate, number>();
  /** One may be for thousands of hosts, each of which asks. */
  readonly #known = new Map<Certificate, Trespass | null>();

  constructor({ ours, tls, certificates }: Served) {
    this.#certificates = certificates;
    const ranks = new Map(ours.map(({ ingress }, rank) => [ingress, rank]));
    for (const { ingress } of ours) {
      for (const { host } of ingress.rules) {
        const rank = ranks.get(ingress) ?? 0;
        this.#claim({ hostname: host.toLowerCase(), namespace: ingress.namespace, rank });
      }
    }
    const owners = new Map(tls.hosts.map(({ hostname, owner }) => [hostname, owner]));
    for (const { ingress, certificate, hosts } of tls.claims) {
      const { namespace } = ingress;
      for (const hostname of hosts) {
        if (owners.get(hostname) !== namespace) continue;
        this.#claim({ hostname, namespace, rank: ranks.get(ingress) ?? 0 });
      }
      if (!certificate || this.#ranks.has(certificate)) continue;
      this.#ranks.set(certificate, ranks.get(ingress) ?? 0);
    }
  }

  /** The first host that the certificate may not serve; `null` when there is none. */
  of(certificate: Certificate): Trespass | null {
    const known = this.#known.get(certificate);
    if (known !== undefined) return known;
    const found = this.#find(certificate);
    this.#known.set(certificate, found);
    return found;
  }

  #find(certificate: Certificate): Trespass | null {
    const rank = this.#ranks.get(certificate) ?? Number.POSITIVE_INFINITY;
    for (const name of certificate.names) {
      for (const claim of this.#covered(name)) {
        const { hostname, namespace: owner } = claim;
        if (owner === certificate.secret.namespace || claim.rank > rank) continue;
        const own = this.#certificates.get(hostname) ?? [];
        if (own.some((it) => it.fingerprint === certificate.fingerprint)) continue;
        return { hostname, owner };
      }
    }
    return null;
  }

  #covered(name: string): readonly FirstClaim[] {
    const exact = this.#byName.get(name);
    const named = exact ? [exact] : [];
    if (name.startsWith('*.')) return [...named, ...(this.#byParent.get(name.slice(2)) ?? [])];
    const above = wildcardFor(name);
    const wildcard = above === null ? undefined : this.#byName.get(above);
    // Whoever serves all below a domain serves this one too, unless it is another's by its name.
    const isServedBy = wildcard && (!exact || exact.namespace === wildcard.namespace);
    return isServedBy ? [...named, wildcard] : named;
  }

  #claim(claim: FirstClaim): void {
    const { hostname } = claim;
    if (this.#byName.has(hostname)) return;
    this.#byName.set(hostname, claim);
    const dot = hostname.indexOf('.');
    if (dot <= 0) return;
    const parent = hostname.slice(dot + 1);
    const others = this.#byParent.get(parent);
    if (others) others.push(claim);
    else this.#byParent.set(parent, [claim]);
  }
}
