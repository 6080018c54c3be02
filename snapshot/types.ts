/**
 * The contract between the syncer and the worker: plain, immutable data.
 *
 * Nothing here carries a clock, a counter or a random value: equal clusters give equal bytes, and
 * when and by whom something was published is the business of the tables, not of the snapshot.
 */

/**
 * A hostname as routes carry it: lower-case, without port or trailing dot. `*.example.com` stands
 * for exactly one more label; {@link CATCH_ALL_HOST} for every host that nothing else names.
 */
export type Hostname = string;

/** The hostname of rules without a host (networking.k8s.io/v1 `IngressRule.host`). */
export const CATCH_ALL_HOST: Hostname = '*';

/** Which Kubernetes object something came from. `namespace` is empty for cluster-scoped kinds. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/**
 * One path of one rule. A `Prefix` compares whole segments and is stored without its trailing
 * slash (the root is `/`); an `Exact` is stored byte for byte.
 */
export interface PathMatch {
  readonly type: 'Exact' | 'Prefix';
  readonly path: string;
}

/**
 * `namespace/service/port`, where port is the number of the Service port; with `@class` behind it
 * where the options of an IngressClass reach that port in a way of their own.
 */
export type UpstreamName = string;

/** One address that can be dialled. `host` is an IP address (IPv6 without brackets) or a DNS name. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** How the worker opens a connection to an endpoint. */
export type DialerName = 'socket' | 'vpc';

/** One Service port. Without endpoints the edge answers 503 and does not dial. */
export interface Upstream {
  readonly name: UpstreamName;
  readonly dialer: DialerName;
  readonly endpoints: readonly Endpoint[];
}

/** Where requests go, and which Ingress asked for it. */
export interface Destination {
  readonly upstream: UpstreamName;
  readonly source: ObjectRef;
  /** A request that comes without TLS is sent to the same URL with https (308). */
  readonly httpsOnly?: true;
}

export interface Route extends Destination {
  readonly match: PathMatch;
}

/** Which clients may use a host, by the certificate that they show (RFC 8446 section 4.3.2). */
export interface ClientCertificatePolicy {
  /**
   * `on`: only those with a certificate of {@link authorities}. `optional`: those without one as
   * well. `optional_no_ca`: everybody, and the upstream is told what was found.
   */
  readonly verify: 'on' | 'optional' | 'optional_no_ca';
  /** PEM, one certificate each. Without any nobody's certificate can be verified. */
  readonly authorities: readonly string[];
  /** How many certificates may stand between the client's and the authority's. */
  readonly depthMax: number;
  /** RE2 pattern for the whole of the subject's common name. */
  readonly commonName?: string;
  /** The upstream gets the certificate itself in `ssl-client-cert`. */
  readonly passToUpstream?: true;
}

/** A hostname with its routes, in the order in which they are to be tried. */
export interface VirtualHost {
  readonly hostname: Hostname;
  /**
   * The namespace that claimed the host first, to which its settings as a whole belong. Empty where
   * nobody did: the host of the controller's own default backend.
   */
  readonly owner: string;
  readonly routes: readonly Route[];
  /** Serves the paths that no route of this host matches (`Ingress.spec.defaultBackend`). */
  readonly defaultBackend?: Destination;
  /** `Strict-Transport-Security` of every answer over TLS (RFC 6797 section 6.1). */
  readonly strictTransportSecurity?: string;
  readonly clientCertificates?: ClientCertificatePolicy;
}

/** All routing at one moment; hosts and upstreams are sorted by name and unique. */
export interface Snapshot {
  readonly virtualHosts: readonly VirtualHost[];
  readonly upstreams: readonly Upstream[];
}

/** The part of a snapshot that one KV read brings: its hosts and every upstream they name. */
export type Shard = Snapshot;

/** Lower-case hexadecimal SHA-256. */
export type Sha256 = string;

/**
 * Names every shard of one snapshot. The SHA-256 of its canonical encoding is the snapshot's
 * `version`.
 */
export interface Manifest {
  readonly formatVersion: 1;
  /** The shard of the catch-all host. */
  readonly catchAllShard: Sha256;
  /** By shard index; the length is a power of two. */
  readonly shards: readonly Sha256[];
}

/** A mistake of a user, as data: what is wrong with which object and the way out. */
export interface Problem {
  readonly object: ObjectRef;
  readonly reason: ProblemReason;
  readonly message: string;
}

/** `error`: something asked for is not served. `warning`: served, but not as it should. */
export type Severity = 'error' | 'warning' | 'note';

/** The closed list of reasons. Each is CamelCase, as reasons of Kubernetes Events are. */
export const PROBLEM_REASONS = {
  AnnotationInvalid: 'error',
  CatchAllDisabled: 'error',
  CertificateExpiring: 'warning',
  CertificateNotCovered: 'error',
  CertificateNotPublished: 'error',
  DuplicateObject: 'error',
  EndpointForbidden: 'error',
  EndpointNotPublic: 'warning',
  ExternalNameDisabled: 'error',
  HostOwned: 'error',
  HostSettingIgnored: 'warning',
  InvalidHost: 'error',
  InvalidObject: 'error',
  InvalidPath: 'error',
  NoEndpoints: 'warning',
  ParametersInvalid: 'warning',
  ParametersNotFound: 'warning',
  PlanInsufficient: 'error',
  PortNotFound: 'error',
  RouteConflict: 'error',
  RouteConflictWon: 'note',
  SecretInvalid: 'error',
  SecretNotFound: 'error',
  ServiceNotExposed: 'error',
  ServiceNotFound: 'error',
  UnsupportedBackend: 'error',
} as const satisfies Record<string, Severity>;

export type ProblemReason = keyof typeof PROBLEM_REASONS;
