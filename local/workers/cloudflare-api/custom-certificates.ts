// workerd has it itself; the packages that read X.509 would be twice the size of this worker.
import { createPublicKey, X509Certificate } from 'node:crypto';
import { nowMs, page, readAll, zoneNamed } from './account.ts';
import { customPacksMax, type LocalZone, type Pack } from './account-state.ts';
import type { Env } from './env.ts';
import { ApiError, readJson, succeed } from './envelope.ts';

// Cloudflare documents the calls but not their errors: that each of these is refused is in its
// documentation, the code and the words are ours.

/** As `GET` tells it. The private key is compared with the certificate and then forgotten. */
interface Stored {
  readonly id: string;
  readonly zone_id: string;
  readonly hosts: readonly string[];
  readonly issuer: string;
  readonly signature: string;
  readonly status: 'active';
  readonly bundle_method: string;
  readonly uploaded_on: string;
  readonly modified_on: string;
  readonly expires_on: string;
  readonly priority: number;
}

interface Upload {
  readonly certificate?: unknown;
  readonly private_key?: unknown;
  readonly bundle_method?: unknown;
  readonly type?: unknown;
}

const keyOf = (zone: LocalZone, id: string) => `custom/${zone.id}/${id}`;
const allOf = (env: Env, { id }: LocalZone) => readAll<Stored>(env, `custom/${id}/`);

export async function listCustom(url: URL, env: Env, zoneId: string | undefined) {
  const all = await allOf(env, await zoneNamed(env, zoneId));
  return page(all, url, 50);
}

/** @throws ApiError for what Cloudflare refuses */
export async function createCustom(request: Request, env: Env, zoneId: string | undefined) {
  const zone = await zoneNamed(env, zoneId);
  if (customPacksMax(zone) === 0) {
    throw new ApiError(403, 1406, 'Custom certificates need a Business or Enterprise plan');
  }
  const upload = (await readJson(request)) as Upload;
  if (upload.type !== 'sni_custom') throw new ApiError(400, 1407, '"type" must be sni_custom here');
  const stored = await store(upload, env, zone);
  checkQuota([...(await allOf(env, zone)), stored], zone);
  await env.ACCOUNT.put(keyOf(zone, stored.id), JSON.stringify(stored));
  return succeed(stored);
}

/** The certificate gets a new id, and the one before is gone. */
export async function replaceCustom(
  request: Request,
  env: Env,
  zoneId: string | undefined,
  id: string,
) {
  const zone = await zoneNamed(env, zoneId);
  await existing(env, zone, id);
  const stored = await store((await readJson(request)) as Upload, env, zone);
  const others = (await allOf(env, zone)).filter((it) => it.id !== id);
  checkQuota([...others, stored], zone);
  await env.ACCOUNT.put(keyOf(zone, stored.id), JSON.stringify(stored));
  await env.ACCOUNT.delete(keyOf(zone, id));
  return succeed(stored);
}

export async function deleteCustom(env: Env, zoneId: string | undefined, id: string) {
  const zone = await zoneNamed(env, zoneId);
  await existing(env, zone, id);
  await env.ACCOUNT.delete(keyOf(zone, id));
  return succeed({ id });
}

/** `GET …/ssl/certificate_packs`; without `status=all` only active ones. */
export async function listPacks(url: URL, env: Env, zoneId: string | undefined) {
  const zone = await zoneNamed(env, zoneId);
  const byHosts = new Map((await allOf(env, zone)).map((it) => [packKey(it), it]));
  const uploaded = [...byHosts.values()].map(({ id, hosts }): Pack => {
    return { id: `pack-${id}`, type: 'sni_custom', status: 'active', hosts };
  });
  const all = [...(zone.packs ?? []), ...uploaded].filter(
    ({ status }) => url.searchParams.get('status') === 'all' || status === 'active',
  );
  const result = all.map((pack) => {
    const { id, hosts, status } = pack;
    return { ...pack, certificates: [{ id: `${id}-1`, hosts, status }] };
  });
  return page(result, url, 50);
}

async function existing(env: Env, zone: LocalZone, id: string): Promise<void> {
  const found = await env.ACCOUNT.get(keyOf(zone, id));
  if (found === null) throw new ApiError(404, 1404, 'The requested certificate was not found');
}

async function store(upload: Upload, env: Env, zone: LocalZone): Promise<Stored> {
  const leaf = readLeaf(upload);
  const now = await nowMs(env);
  const expiresMs = Date.parse(leaf.validTo);
  if (expiresMs <= now) throw new ApiError(400, 1410, 'The certificate has expired');
  const hosts = (leaf.subjectAltName ?? '')
    .split(', ')
    .flatMap((name) => (name.startsWith('DNS:') ? [name.slice(4).toLowerCase()] : []));
  const isOfZone = (host: string) => host === zone.name || host.endsWith(`.${zone.name}`);
  if (!hosts.some(isOfZone)) {
    throw new ApiError(400, 1411, 'The certificate has no hostname of this zone');
  }
  const uploaded = new Date(now).toISOString();
  return {
    id: crypto.randomUUID().replaceAll('-', ''),
    zone_id: zone.id,
    hosts,
    issuer: leaf.issuer,
    signature: leaf.publicKey.asymmetricKeyType === 'ec' ? 'ECDSAWithSHA256' : 'SHA256WithRSA',
    status: 'active',
    bundle_method: typeof upload.bundle_method === 'string' ? upload.bundle_method : 'ubiquitous',
    uploaded_on: uploaded,
    modified_on: uploaded,
    expires_on: new Date(expiresMs).toISOString(),
    priority: 0,
  };
}

function readLeaf({ certificate, private_key: privateKey }: Upload): X509Certificate {
  if (typeof certificate !== 'string' || typeof privateKey !== 'string') {
    throw new ApiError(400, 1400, '"certificate" and "private_key" must be texts');
  }
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certificate);
  } catch {
    throw new ApiError(400, 1408, 'The certificate cannot be read');
  }
  if (publicPart(privateKey) !== spki(leaf.publicKey)) {
    throw new ApiError(400, 1409, 'The private key does not belong to the certificate');
  }
  return leaf;
}

/** Of the key; workerd's `checkPrivateKey` says no to every key (1.20261117.1). */
function publicPart(privateKey: string): string | null {
  try {
    return spki(createPublicKey(privateKey));
  } catch {
    return null;
  }
}

function spki(key: ReturnType<typeof createPublicKey>): string {
  return key.export({ type: 'spki', format: 'der' }).toString('base64');
}

/** Those for the same hosts are one pack, whatever their keys. */
function packKey({ hosts }: Stored): string {
  return [...hosts].sort().join();
}

function checkQuota(all: readonly Stored[], zone: LocalZone): void {
  const packs = new Set(all.map(packKey));
  if (packs.size > customPacksMax(zone)) {
    throw new ApiError(400, 1405, 'Quota exceeded: no more custom certificates for this zone');
  }
}
