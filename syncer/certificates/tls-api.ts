import * as v from 'valibot';
import type { CloudflareApi } from '../cloudflare/api.ts';
import { CloudflareError, type Operation } from '../cloudflare/error.ts';
import type { Certificate } from '../compile/certificate.ts';
import {
  AuthorityAnswer,
  type CertificatePack,
  CustomAnswer,
  DomainAnswer,
  HostnamesAnswer,
  PackAnswer,
  pagesOf,
  type RemoteAuthority,
  type RemoteCertificate,
  remoteCertificate,
  ZoneAnswer,
} from './tls-answers.ts';
import type { Zone } from './zones.ts';

type Page = { readonly result?: unknown; readonly result_info?: unknown };

/** The most that Cloudflare takes. */
const PER_PAGE = 50;
const PAGES_MAX = 200;

/**
 * The calls about TLS. What makes something new is tried once, since an answer can be lost: whoever
 * calls finds out what became of it.
 *
 * Every method throws CloudflareError.
 */
export class TlsApi {
  readonly #api: CloudflareApi;

  constructor(api: CloudflareApi) {
    this.#api = api;
  }

  async zones(): Promise<readonly Zone[]> {
    const { accountId } = this.#api;
    const operation = this.#of('list of zones', 'Zone Read', `zone of account ${accountId}`);
    const found = await this.#pages(operation, ZoneAnswer, (client, page) =>
      client.zones.list({ account: { id: accountId }, page, per_page: PER_PAGE }),
    );
    return found
      .filter(({ account }) => account.id === accountId)
      .map(({ id, name, plan, meta }) => ({
        id,
        name: name.toLowerCase(),
        plan: plan?.legacy_id ?? '',
        customCertificatesMax: meta?.custom_certificate_quota ?? null,
      }));
  }

  async customCertificates(zone: Zone): Promise<readonly RemoteCertificate[]> {
    const operation = this.#ofZone('list of custom certificates', zone);
    const found = await this.#pages(operation, CustomAnswer, (client, page) =>
      client.customCertificates.list({ zone_id: zone.id, page, per_page: PER_PAGE }),
    );
    return found.map(remoteCertificate);
  }

  /** Not to be repeated. */
  async createCustom(zone: Zone, certificate: Certificate): Promise<RemoteCertificate> {
    const operation = this.#ofZone('upload of a certificate', zone);
    const created = await this.#api.call(
      operation,
      (client) =>
        client.customCertificates.create({
          zone_id: zone.id,
          type: 'sni_custom',
          ...uploadOf(certificate),
        }),
      1,
    );
    return remoteCertificate(parse(operation, CustomAnswer, created));
  }

  /** The certificate gets a new id. Not to be repeated. */
  async replaceCustom(
    zone: Zone,
    id: string,
    certificate: Certificate,
  ): Promise<RemoteCertificate> {
    const operation = this.#ofZone('renewal of a certificate', zone);
    const replaced = await this.#api.call(
      operation,
      (client) =>
        client.customCertificates.edit(id, { zone_id: zone.id, ...uploadOf(certificate) }),
      1,
    );
    return remoteCertificate(parse(operation, CustomAnswer, replaced));
  }

  /** One that is not there counts as deleted. */
  deleteCustom(zone: Zone, id: string): Promise<void> {
    const operation = this.#ofZone('deletion of a certificate', zone);
    return this.#deleted(operation, (client) =>
      client.customCertificates.delete(id, { zone_id: zone.id }),
    );
  }

  async packs(zone: Zone): Promise<readonly CertificatePack[]> {
    const operation = this.#ofZone('list of certificate packs', zone);
    return await this.#pages(operation, PackAnswer, (client, page) =>
      client.ssl.certificatePacks.list({
        zone_id: zone.id,
        status: 'all',
        page,
        per_page: PER_PAGE,
      }),
    );
  }

  /** Hosts of a zone that are custom domains of a worker. */
  async customDomains(zone: Zone): Promise<readonly string[]> {
    const operation = this.#ofAccount('list of custom domains', 'Workers Scripts Read');
    const answer = await this.#api.call(operation, (client) =>
      client.workers.domains.list({ account_id: this.#api.accountId, zone_id: zone.id }),
    );
    return parse(operation, v.array(DomainAnswer), answer.result)
      .filter(({ zone_id: id }) => id === zone.id)
      .map(({ hostname }) => hostname);
  }

  async setting(zone: Zone, id: string): Promise<unknown> {
    const operation = this.#of(`setting ${id}`, 'Zone Settings Edit', `zone ${zone.name}`);
    const answer = await this.#api.call(operation, (client) =>
      client.zones.settings.get(id, { zone_id: zone.id }),
    );
    return (answer as { readonly value?: unknown }).value;
  }

  async changeSetting(zone: Zone, id: string, value: object | string): Promise<void> {
    const operation = this.#of(`setting ${id}`, 'Zone Settings Edit', `zone ${zone.name}`);
    await this.#api.call(operation, (client) =>
      client.zones.settings.edit(id, { zone_id: zone.id, value }),
    );
  }

  async authorities(): Promise<readonly RemoteAuthority[]> {
    const operation = this.#ofAccount('list of client authorities', ACCOUNT_CERTIFICATES);
    const answer = await this.#api.call(operation, (client) =>
      client.mtlsCertificates.list({ account_id: this.#api.accountId }),
    );
    return parse(operation, v.array(AuthorityAnswer), answer.result);
  }

  /** Not to be repeated. */
  async createAuthority(name: string, pem: string): Promise<RemoteAuthority> {
    const operation = this.#ofAccount('upload of a client authority', ACCOUNT_CERTIFICATES);
    const params = { account_id: this.#api.accountId, ca: true, certificates: pem, name };
    const created = await this.#api.call(
      operation,
      (client) => client.mtlsCertificates.create(params),
      1,
    );
    return parse(operation, AuthorityAnswer, created);
  }

  /** One that is not there counts as deleted. */
  deleteAuthority(id: string): Promise<void> {
    const operation = this.#ofAccount('deletion of a client authority', ACCOUNT_CERTIFICATES);
    return this.#deleted(operation, (client) =>
      client.mtlsCertificates.delete(id, { account_id: this.#api.accountId }),
    );
  }

  /** The hosts of the zone that ask their clients for certificates of this authority. */
  async association(zone: Zone, authority: string): Promise<readonly string[]> {
    const operation = this.#ofZone('hosts of a client authority', zone);
    const answer = await this.#api.call(operation, (client) =>
      client.certificateAuthorities.hostnameAssociations.get({
        zone_id: zone.id,
        mtls_certificate_id: authority,
      }),
    );
    return parse(operation, HostnamesAnswer, answer ?? {}).hostnames;
  }

  async replaceAssociation(
    zone: Zone,
    authority: string,
    hostnames: readonly string[],
  ): Promise<void> {
    const operation = this.#ofZone('hosts of a client authority', zone);
    await this.#api.call(operation, (client) =>
      client.certificateAuthorities.hostnameAssociations.update({
        zone_id: zone.id,
        mtls_certificate_id: authority,
        hostnames: [...hostnames],
      }),
    );
  }

  /** Waits before the next attempt. */
  backOff(attempt: number): Promise<void> {
    return this.#api.backOff(attempt);
  }

  async #pages<T>(
    operation: Operation,
    entry: v.GenericSchema<unknown, T>,
    request: (client: Client, page: number) => PromiseLike<Page>,
  ): Promise<readonly T[]> {
    const all: T[] = [];
    for (let page = 1; page <= PAGES_MAX; page++) {
      const answer = await this.#api.call(operation, (client) => request(client, page));
      const found = parse(operation, v.array(entry), answer.result);
      all.push(...found);
      if (found.length < PER_PAGE || page >= pagesOf(answer.result_info)) return all;
    }
    throw new CloudflareError(`${operation.name}: more than ${PAGES_MAX * PER_PAGE} entries`);
  }

  async #deleted(
    operation: Operation,
    request: (client: Client) => PromiseLike<unknown>,
  ): Promise<void> {
    try {
      await this.#api.call(operation, request);
    } catch (error) {
      if (!(error instanceof CloudflareError && error.status === 404)) throw error;
    }
  }

  #ofZone(name: string, zone: Zone): Operation {
    return this.#of(name, 'Zone SSL and Certificates Edit', `zone ${zone.name}`);
  }

  #ofAccount(name: string, permission: Operation['permission']): Operation {
    return this.#of(name, permission, `account ${this.#api.accountId}`);
  }

  #of(name: string, permission: Operation['permission'], target: string): Operation {
    return { name, permission, target };
  }
}

const ACCOUNT_CERTIFICATES = 'Account SSL and Certificates Edit';

type Client = Parameters<Parameters<CloudflareApi['call']>[1]>[0];

/** The one place where a private key leaves this process. */
function uploadOf({ chain, privateKey }: Certificate) {
  return { certificate: chain, private_key: privateKey.reveal(), bundle_method: 'force' } as const;
}

function parse<T>(operation: Operation, schema: v.GenericSchema<unknown, T>, answer: unknown): T {
  const parsed = v.safeParse(schema, answer);
  if (parsed.success) return parsed.output;
  throw new CloudflareError(`${operation.name}: unexpected answer: ${parsed.issues[0].message}`);
}
