import {
  CATCH_ALL_HOST,
  type ClientCertificatePolicy,
  type Hostname,
  type ObjectRef,
  type Problem,
  type ProblemReason,
  type VirtualHost,
} from '../../snapshot/types.ts';
import type { Certificate } from '../compile/certificate.ts';
import { Problems } from '../compile/problems.ts';
import type { TimedCompilation } from '../compile/validity.ts';
import { refOf } from '../kubernetes/objects.ts';
import { someOf } from '../some-of.ts';
import { Trespasses } from './trespass.ts';

/** A host whose TLS is Cloudflare's to do. */
export interface WantedHost {
  readonly hostname: Hostname;
  /** The Ingresses that ask for it, of the namespace that the host belongs to. */
  readonly askedBy: readonly ObjectRef[];
  /** False for one that asks for nothing but certificates of its clients. */
  readonly isTls: boolean;
  /** From Secrets, one for each type of key; empty where they have none for it. */
  readonly certificates: readonly Certificate[];
  /** Those that would serve hosts of another namespace as well, and so are not uploaded. */
  readonly withheld: readonly Withheld[];
  readonly clientCertificates: ClientCertificatePolicy | null;
}

/** A certificate with the name of a host that belongs to another namespace. */
export interface Withheld {
  readonly certificate: Certificate;
  readonly hostname: Hostname;
  readonly owner: string;
}

/** What could not be had for a host, and the way out. */
export interface Finding {
  readonly hostname: Hostname;
  readonly reason: ProblemReason;
  /** What comes after the host's name. */
  readonly text: string;
}

type Asked = Pick<TimedCompilation, 'ours' | 'tls' | 'certificates'> & {
  readonly snapshot: Pick<TimedCompilation['snapshot'], 'virtualHosts'>;
};

/** Every host but the catch-all one, which has no name that a certificate could be for. */
export function wantedHosts(compilation: Asked): readonly WantedHost[] {
  const { tls, certificates, snapshot } = compilation;
  const trespasses = new Trespasses(compilation);
  const claims = new Map<Hostname, ObjectRef[]>();
  for (const { ingress, hosts } of tls.claims) {
    for (const host of hosts) {
      const refs = claims.get(host) ?? [];
      if (!refs.some((it) => isSame(it, refOf(ingress)))) refs.push(refOf(ingress));
      claims.set(host, refs);
    }
  }
  const virtualHosts = new Map(snapshot.virtualHosts.map((it) => [it.hostname, it]));
  const overTls = tls.hosts.map(({ hostname, owner }): WantedHost => {
    const askedBy = (claims.get(hostname) ?? []).filter((it) => it.namespace === owner);
    const judged = (certificates.get(hostname) ?? []).map((certificate) => {
      return { certificate, trespass: trespasses.of(certificate) };
    });
    return {
      hostname,
      askedBy,
      isTls: true,
      certificates: judged.flatMap((it) => (it.trespass ? [] : [it.certificate])),
      withheld: judged.flatMap(({ certificate, trespass }) =>
        trespass ? [{ certificate, ...trespass }] : [],
      ),
      clientCertificates: virtualHosts.get(hostname)?.clientCertificates ?? null,
    };
  });
  const named = new Set(overTls.map(({ hostname }) => hostname));
  const others = snapshot.virtualHosts.flatMap((host): readonly WantedHost[] => {
    const { hostname, clientCertificates } = host;
    if (!clientCertificates || named.has(hostname)) return [];
    const askedBy = ownSources(host);
    const none = { certificates: [], withheld: [] };
    return [{ hostname, askedBy, isTls: false, ...none, clientCertificates }];
  });
  return [...overTls, ...others].filter(({ hostname }) => hostname !== CATCH_ALL_HOST);
}

function ownSources({ owner, routes, defaultBackend }: VirtualHost): readonly ObjectRef[] {
  const sources = [...routes, ...(defaultBackend ? [defaultBackend] : [])].map((it) => it.source);
  return sources.filter(
    (it, index) =>
      it.namespace === owner && sources.findIndex((other) => isSame(it, other)) === index,
  );
}

function isSame(a: ObjectRef, b: ObjectRef): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;
}

const HOSTS_SHOWN_MAX = 5;

/** On each Ingress that asks for the host. What is the same for several of its hosts is said once. */
export function problemsOf(
  findings: readonly Finding[],
  hosts: readonly WantedHost[],
): readonly Problem[] {
  const askedBy = new Map(hosts.map((it) => [it.hostname, it.askedBy]));
  const merged = new Map<string, { ref: ObjectRef; finding: Finding; hostnames: Hostname[] }>();
  for (const finding of findings) {
    const { hostname, reason, text } = finding;
    for (const ref of askedBy.get(hostname) ?? []) {
      const key = JSON.stringify([ref, reason, text]);
      const entry = merged.get(key) ?? { ref, finding, hostnames: [] };
      if (!entry.hostnames.includes(hostname)) entry.hostnames.push(hostname);
      merged.set(key, entry);
    }
  }
  const problems = new Problems();
  for (const { ref, finding, hostnames } of merged.values()) {
    const names = someOf([...hostnames].sort(), HOSTS_SHOWN_MAX);
    problems.add(ref, finding.reason, `${names}: ${finding.text}`);
  }
  return problems.sorted();
}
