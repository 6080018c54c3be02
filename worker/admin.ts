import { asc, eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { Hono } from 'hono/tiny';
import { problems } from '../snapshot/tables.ts';
import type { Gateway } from './gateway.ts';

/** The admin API, bound to its own hostname; for those only whom {@link isAdmin} lets in. */
export const admin = new Hono<{ Bindings: { gateway: Gateway } }>();

/** Whether a request to the admin host has the token. */
export async function isAdmin({ headers }: Request, token: string): Promise<boolean> {
  const given = /^Bearer (.+)$/.exec(headers.get('authorization') ?? '')?.[1];
  return given !== undefined && equalInConstantTime(token, given);
}

admin.get('/healthz', (c) => c.text('ok\n'));

/** Looks at the pointer first, so that the answer is of now, and this isolate up to date. */
admin.get('/api/version', async (c) => {
  const { cache, settings } = c.env.gateway;
  let refreshError: string | null = null;
  try {
    await cache.refresh();
  } catch (error) {
    refreshError = String(error);
  }
  return c.json({ cluster: settings.cluster, version: cache.version, refreshError });
});

admin.get('/api/routes', async (c) => {
  const { store } = c.env.gateway;
  const current = (await store.current()) ?? (await store.mirror());
  if (!current) return c.json({ version: null, virtualHosts: [], upstreams: [] });
  const { shards, catchAllShard } = current.manifest;
  const virtualHosts = [];
  const upstreams = new Map();
  for (const hash of new Set([...shards, catchAllShard])) {
    const { shard } = await store.shard(hash);
    virtualHosts.push(...shard.virtualHosts);
    for (const upstream of shard.upstreams) upstreams.set(upstream.name, upstream);
  }
  return c.json({ version: current.version, virtualHosts, upstreams: [...upstreams.values()] });
});

admin.get('/api/problems', async (c) => {
  const { env, settings } = c.env.gateway;
  const { kind, namespace, name, reason, message } = problems;
  const rows = await drizzle(env.DB)
    .select({ kind, namespace, name, reason, message })
    .from(problems)
    .where(eq(problems.cluster, settings.cluster))
    .orderBy(asc(problems.position));
  return c.json({ problems: rows });
});

admin.notFound((c) => c.json({ error: 'Not Found' }, 404));

admin.onError((error, c) => {
  console.error(JSON.stringify({ level: 'error', admin: c.req.path, cause: String(error) }));
  return c.json({ error: 'Internal Server Error' }, 500);
});

/** Compares digests, so that neither content nor length of the token shows in the time taken. */
async function equalInConstantTime(a: string, b: string): Promise<boolean> {
  const digest = (text: string) => crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  const [left, right] = await Promise.all([digest(a), digest(b)]);
  return crypto.subtle.timingSafeEqual(left, right);
}
