import { X509Certificate } from 'node:crypto';
import { nowMs, readAccount, readAll, zoneNamed } from './account.ts';
import type { Env } from './env.ts';
import { ApiError, readJson, succeed } from './envelope.ts';

/** An authority whose client certificates hosts may ask for. */
interface Authority {
  readonly id: string;
  readonly name: string;
  readonly ca: true;
  readonly certificates: string;
  readonly issuer: string;
  readonly serial_number: string;
  readonly uploaded_on: string;
  readonly expires_on: string;
}

interface Association {
  readonly zone: string;
  readonly authority: string;
  readonly hostnames: readonly string[];
}

const keyOf = (id: string) => `authority/${id}`;

export async function listAuthorities(env: Env): Promise<Response> {
  return succeed(await readAll<Authority>(env, 'authority/'));
}

export async function createAuthority(request: Request, env: Env): Promise<Response> {
  const { ca, certificates, name } = (await readJson(request)) as Partial<Authority>;
  const certificate = readAuthority(certificates);
  if (ca !== true || !certificate.ca) {
    throw new ApiError(400, 1434, 'The certificate is no certificate authority');
  }
  const all = await readAll<Authority>(env, 'authority/');
  if (all.length >= (await readAccount(env)).authoritiesMax) {
    // The code and the words of production (github.com/cloudflare/cloudflare-docs/issues/30406).
    throw new ApiError(400, 1489, 'Hit maximum CA cert allocation');
  }
  const authority: Authority = {
    id: crypto.randomUUID(),
    name: name ?? '',
    ca: true,
    certificates: certificates ?? '',
    issuer: certificate.issuer,
    serial_number: certificate.serialNumber,
    uploaded_on: new Date(await nowMs(env)).toISOString(),
    expires_on: new Date(certificate.validTo).toISOString(),
  };
  await env.ACCOUNT.put(keyOf(authority.id), JSON.stringify(authority));
  return succeed(authority);
}

/** One that a host asks for cannot be deleted. */
export async function deleteAuthority(env: Env, id: string): Promise<Response> {
  const authority = await env.ACCOUNT.get<Authority>(keyOf(id), 'json');
  if (!authority) throw new ApiError(404, 1404, 'The requested certificate was not found');
  const associations = await readAll<Association>(env, 'association/');
  if (associations.some((it) => it.authority === id && it.hostnames.length > 0)) {
    throw new ApiError(400, 1470, 'The certificate is in use by hostname associations');
  }
  await env.ACCOUNT.delete(keyOf(id));
  return succeed(authority);
}

/** `GET …/hostname_associations?mtls_certificate_id=` */
export async function readAssociation(url: URL, env: Env, zoneId: string | undefined) {
  const zone = await zoneNamed(env, zoneId);
  const authority = url.searchParams.get('mtls_certificate_id') ?? '';
  const key = `association/${zone.id}/${authority}`;
  const found = await env.ACCOUNT.get<Association>(key, 'json');
  return succeed({ hostnames: found?.hostnames ?? [] });
}

/** Replaces the hosts of one authority in one zone. */
export async function replaceAssociation(request: Request, env: Env, zoneId: string | undefined) {
  const zone = await zoneNamed(env, zoneId);
  const body = (await readJson(request)) as {
    hostnames?: readonly string[];
    mtls_certificate_id?: string;
  };
  const { hostnames = [], mtls_certificate_id: authority = '' } = body;
  const foreign = hostnames.find((it) => it !== zone.name && !it.endsWith(`.${zone.name}`));
  if (foreign !== undefined) {
    throw new ApiError(400, 1461, `${foreign} is no hostname of this zone`);
  }
  if (authority !== '' && (await env.ACCOUNT.get(keyOf(authority))) === null) {
    throw new ApiError(404, 1404, 'The requested certificate was not found');
  }
  const stored: Association = { zone: zone.id, authority, hostnames };
  await env.ACCOUNT.put(`association/${zone.id}/${authority}`, JSON.stringify(stored));
  return succeed({ hostnames });
}

function readAuthority(pem: unknown): X509Certificate {
  try {
    return new X509Certificate(String(pem));
  } catch {
    throw new ApiError(400, 1408, 'The certificate cannot be read');
  }
}
