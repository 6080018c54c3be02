import { type Account, customPacksMax, EMPTY, type LocalZone } from './account-state.ts';
import type { Env } from './env.ts';
import { ApiError, succeed } from './envelope.ts';

const KEY = 'account';

export async function readAccount({ ACCOUNT }: Env): Promise<Account> {
  return (await ACCOUNT.get<Account>(KEY, 'json')) ?? EMPTY;
}

function writeAccount({ ACCOUNT }: Env, account: Account): Promise<void> {
  return ACCOUNT.put(KEY, JSON.stringify(account));
}

/**
 * The route by which tests say what the account is like: `PUT` changes what it names, `DELETE`
 * empties all, uploads too.
 */
export async function controlAccount(request: Request, env: Env): Promise<Response> {
  if (request.method === 'PUT') {
    const changes = (await request.json()) as Partial<Account>;
    await writeAccount(env, { ...(await readAccount(env)), ...changes });
  } else if (request.method === 'DELETE') {
    for (const { name } of await listAll(env, '')) await env.ACCOUNT.delete(name);
  }
  return succeed(await readAccount(env));
}

/** @throws ApiError when there is no such zone */
export async function zoneNamed(env: Env, id: string | undefined): Promise<LocalZone> {
  const { zones } = await readAccount(env);
  const zone = zones.find((it) => it.id === id);
  if (!zone) throw new ApiError(404, 7003, `Could not route to /zones/${id}`);
  return zone;
}

export async function nowMs(env: Env): Promise<number> {
  return (await readAccount(env)).nowMs ?? Date.now();
}

/** `GET /zones`, of this account. */
export async function listZones(url: URL, env: Env): Promise<Response> {
  const { zones } = await readAccount(env);
  const named = url.searchParams.get('name');
  const found = zones.filter(({ name }) => named === null || name === named);
  const result = found.map((zone) => ({
    id: zone.id,
    name: zone.name,
    status: 'active',
    paused: false,
    type: 'full',
    account: { id: env.ACCOUNT_ID, name: 'local' },
    plan: { id: zone.plan, legacy_id: zone.plan, name: `${zone.plan} Website` },
    meta: { custom_certificate_quota: customPacksMax(zone) },
  }));
  return page(result, url, 50);
}

/** `GET …/settings/:setting` */
export async function readSetting(
  env: Env,
  zoneId: string | undefined,
  id: string,
): Promise<Response> {
  const zone = await zoneNamed(env, zoneId);
  return succeed({ id, value: settingOf(zone, id), editable: true, modified_on: null });
}

/** `PATCH …/settings/:setting` */
export async function writeSetting(
  request: Request,
  env: Env,
  zoneId: string | undefined,
  id: string,
): Promise<Response> {
  const { value } = (await request.json()) as { value: unknown };
  const zone = await zoneNamed(env, zoneId);
  settingOf(zone, id);
  if (id === 'min_tls_version' && !/^1\.[0-3]$/.test(String(value))) {
    throw new ApiError(400, 1007, `Invalid value for zone setting ${id}`);
  }
  const account = await readAccount(env);
  const changed = { ...zone, settings: { ...zone.settings, [id]: value } };
  const zones = account.zones.map((it) => (it.id === zone.id ? changed : it));
  await writeAccount(env, { ...account, zones });
  return succeed({ id, value, editable: true, modified_on: null });
}

const SETTINGS: Readonly<Record<string, unknown>> = {
  min_tls_version: '1.0',
  security_header: {
    strict_transport_security: {
      enabled: false,
      max_age: 0,
      include_subdomains: false,
      preload: false,
      nosniff: false,
    },
  },
};

function settingOf({ settings }: LocalZone, id: string): unknown {
  if (!Object.hasOwn(SETTINGS, id)) throw new ApiError(400, 1006, `Unrecognized zone setting name`);
  return settings?.[id] ?? SETTINGS[id];
}

/** `GET /accounts/:account/workers/domains` */
export async function listDomains(env: Env): Promise<Response> {
  const { domains } = await readAccount(env);
  const result = domains.map(({ hostname, zone }, index) => ({
    id: `domain-${index}`,
    hostname,
    zone_id: zone,
    zone_name: '',
    service: 'causeway',
    environment: 'production',
    cert_id: `certificate-${index}`,
  }));
  return succeed(result);
}

/** One page of a list, as `page` and `per_page` ask for it. */
export function page(all: readonly unknown[], url: URL, perPageMax: number): Response {
  const asked = Number(url.searchParams.get('per_page') ?? 20);
  if (!(asked >= 1 && asked <= perPageMax)) {
    throw new ApiError(400, 1004, `per_page must be from 1 to ${perPageMax}`);
  }
  const number = Number(url.searchParams.get('page') ?? 1);
  const shown = all.slice((number - 1) * asked, number * asked);
  return succeed(shown, {
    page: number,
    per_page: asked,
    count: shown.length,
    total_count: all.length,
    total_pages: Math.ceil(all.length / asked),
  });
}

/** Every key that begins so, in the order of their bytes. */
async function listAll({ ACCOUNT }: Env, prefix: string) {
  const keys = [];
  for (let cursor: string | null = null; ; ) {
    const found: KVNamespaceListResult<unknown> = await ACCOUNT.list({ prefix, cursor });
    keys.push(...found.keys);
    if (found.list_complete) return keys;
    cursor = found.cursor;
  }
}

/** What is stored under the keys that begin so. */
export async function readAll<T>(env: Env, prefix: string): Promise<readonly T[]> {
  const keys = await listAll(env, prefix);
  const values = await Promise.all(keys.map(({ name }) => env.ACCOUNT.get<T>(name, 'json')));
  return values.filter((it) => it !== null);
}
