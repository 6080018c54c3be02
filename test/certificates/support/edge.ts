import type { Account, LocalZone } from '../../../local/workers/cloudflare-api/account-state.ts';
import type { FaultResponse } from '../../../local/workers/cloudflare-api/faults.ts';
import type { ClientCertificatePolicy, ObjectRef } from '../../../snapshot/types.ts';
import { CertificateLedger } from '../../../syncer/certificates/certificate-ledger.ts';
import {
  type CertificateSettings,
  EdgeTls,
  type EdgeTlsOptions,
} from '../../../syncer/certificates/edge-tls.ts';
import { TlsApi } from '../../../syncer/certificates/tls-api.ts';
import type { Finding, WantedHost } from '../../../syncer/certificates/wanted.ts';
import { type Certificate, certificateOf } from '../../../syncer/compile/certificate.ts';
import { SecretText } from '../../../syncer/secret-text.ts';
import { LocalCloudflare, TOKEN } from '../../publish/support/cloudflare.ts';
import { type Authority, type Issued, newAuthority } from '../../support/certificates.ts';

export const BUSINESS: LocalZone = { id: 'zone-1', name: 'example.com', plan: 'business' };
/** What Cloudflare gives every zone: here that of `example.com`. */
export const UNIVERSAL = {
  id: 'universal',
  type: 'universal',
  status: 'active',
  hosts: ['example.com', '*.example.com'],
};
const NO_SETTINGS = { minTlsVersion: null, hsts: null } as const;

/** One that a zone has, as `GET` tells it. */
export interface Uploaded {
  readonly id: string;
  readonly hosts: readonly string[];
  readonly expires_on: string;
}

/** Cloudflare's TLS as one cluster's syncers see it, with a clock that tests move. */
export class CloudflareEdge {
  readonly cf: LocalCloudflare;
  /** Of the syncers and of Cloudflare. */
  nowMs = Date.now();
  #ids = 0;

  private constructor(cf: LocalCloudflare) {
    this.cf = cf;
  }

  static async start(): Promise<CloudflareEdge> {
    return new CloudflareEdge(await LocalCloudflare.start());
  }

  async reset(zones: readonly LocalZone[] = [BUSINESS]): Promise<void> {
    await this.cf.reset();
    await fetch(`${this.cf.origin}/__account`, { method: 'DELETE' });
    this.nowMs = Date.now();
    await this.account({ zones, nowMs: this.nowMs });
  }

  async account(changes: Partial<Account>): Promise<void> {
    const body = JSON.stringify(changes);
    await fetch(`${this.cf.origin}/__account`, { method: 'PUT', body });
  }

  async advance(ms: number): Promise<void> {
    this.nowMs += ms;
    await this.account({ nowMs: this.nowMs });
  }

  /** What a new leader has; whoever led before is deposed. */
  async lead(options: LeadOptions = {}): Promise<EdgeTls> {
    const { cluster = 'test', mode = 'auto', zone = NO_SETTINGS, ...rest } = options;
    const { api, d1 } = this.cf.clients(rest);
    const { fencingToken } = await this.cf.publisher({ cluster }).claim();
    const given: EdgeTlsOptions = {
      settings: { mode, zone },
      tls: new TlsApi(api),
      ledger: new CertificateLedger(d1, cluster, fencingToken),
      nowMs: () => this.nowMs,
      newId: () => `row-${++this.#ids}`,
      log: this.cf.log,
    };
    return new EdgeTls(given);
  }

  /**
   * Who leads dies at its call `k`: that one is answered so, and no later one is done.
   * @returns whether there was such a call
   */
  async dieAt(k: number, respond: FaultResponse, wanted: readonly WantedHost[]): Promise<boolean> {
    const leader = await this.lead();
    await this.cf.clearFaults();
    await this.cf.inject(
      { match: '.', skip: k, times: 1, respond },
      { match: '.', skip: k, times: 1_000_000, respond: { kind: 'refuse' } },
    );
    await leader.run(wanted).catch(() => {});
    const { length } = await this.cf.calls();
    await this.cf.clearFaults();
    return length > k;
  }

  /** Somebody with a browser, or another syncer. */
  async call<T>(method: string, path: string, body?: object): Promise<T> {
    const answer = await fetch(`${this.cf.origin}/client/v4${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    const { result, errors } = (await answer.json()) as { result: T; errors: object };
    if (!answer.ok) throw new Error(JSON.stringify(errors));
    return result;
  }

  uploads(zone = BUSINESS.id): Promise<readonly Uploaded[]> {
    return this.call('GET', `/zones/${zone}/custom_certificates?per_page=50`);
  }

  /** By somebody else. */
  upload(issued: Issued, zone = BUSINESS.id): Promise<Uploaded> {
    return this.call('POST', `/zones/${zone}/custom_certificates`, {
      certificate: issued.certificate,
      private_key: issued.privateKey,
      type: 'sni_custom',
    });
  }

  rows(): Promise<readonly Record<string, unknown>[]> {
    return this.cf.rows('SELECT * FROM certificates ORDER BY id');
  }

  /** Calls since the last time, but for D1's. */
  async tlsCalls(): Promise<readonly string[]> {
    const answer = await fetch(`${this.cf.origin}/__calls`);
    const { result } = (await answer.json()) as { result: { method: string; path: string }[] };
    return result
      .map(({ method, path }) => `${method} ${path.replace('/client/v4', '')}`)
      .filter((call) => !call.includes('/d1/'));
  }
}

interface LeadOptions {
  readonly cluster?: string;
  readonly mode?: CertificateSettings['mode'];
  readonly zone?: CertificateSettings['zone'];
  readonly signal?: AbortSignal;
  readonly permit?: () => void;
}

/** A certificate, and the one by which it is renewed: its Secret's next. */
export interface Renewal {
  readonly authority: Authority;
  readonly first: Issued;
  readonly renewed: Issued;
}

export async function newRenewal(names: readonly string[]): Promise<Renewal> {
  const authority = await newAuthority();
  const notAfter = new Date(Date.now() + 99 * 86_400_000);
  return {
    authority,
    first: await authority.issue({ names }),
    renewed: await authority.issue({ names, notAfter }),
  };
}

/** A certificate as the compiler reads it from a Secret. */
export function certificateIn(name: string, issued: Issued, namespace = 'shop'): Certificate {
  const certificate = certificateOf({
    kind: 'Secret',
    namespace,
    name,
    uid: '',
    createdAtMs: 0,
    type: 'kubernetes.io/tls',
    certificate: issued.certificate,
    privateKey: new SecretText(issued.privateKey),
    authorities: '',
    hasRevocationList: false,
  });
  if (typeof certificate === 'string') throw new Error(certificate);
  return certificate;
}

export function host(
  hostname: string,
  certificates: readonly Certificate[] = [],
  clientCertificates: ClientCertificatePolicy | null = null,
): WantedHost {
  const askedBy = [ingress()];
  return { hostname, askedBy, isTls: true, certificates, withheld: [], clientCertificates };
}

export function ingress(name = 'web', namespace = 'shop'): ObjectRef {
  return { kind: 'Ingress', namespace, name };
}

/** `reason hostname` */
export function brief(findings: readonly Finding[]): readonly string[] {
  return findings.map(({ reason, hostname }) => `${reason} ${hostname}`);
}
