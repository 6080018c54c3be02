import { request } from 'node:http';
import { SYSTEM_CLOCK } from '../syncer/clock.ts';
import { CloudflareApi } from '../syncer/cloudflare/api.ts';
import { D1Database } from '../syncer/cloudflare/d1-database.ts';
import { KvStore } from '../syncer/cloudflare/kv-store.ts';
import { Publisher, type PublisherOptions } from '../syncer/publish.ts';
import { SecretText } from '../syncer/secret-text.ts';
import type { Edge } from './edge.ts';

export type EdgePublisherOptions = Omit<PublisherOptions, 'kv' | 'd1' | 'now'> & {
  /** Ends its calls. */
  readonly signal: AbortSignal;
};

/** The publisher of production, for the storage of an edge on this machine. */
export function edgePublisher(
  { api: local }: Pick<Edge, 'api'>,
  { signal, ...options }: EdgePublisherOptions,
): Publisher {
  const api = new CloudflareApi({
    baseUrl: local.baseUrl,
    accountId: local.accountId,
    token: new SecretText(local.token),
    clock: SYSTEM_CLOCK,
    random: Math.random,
    signal,
  });
  const kv = new KvStore(api, local.namespaceId);
  const d1 = new D1Database(api, local.databaseId);
  return new Publisher({ ...options, kv, d1, now: Date.now });
}

const SERVED_ATTEMPTS_MAX = 50;

/** The version endpoint looks at the pointer before it answers, so one question is mostly enough. */
export async function waitUntilServed(edge: Edge, version: string): Promise<void> {
  let answer = '';
  for (let attempt = 0; attempt < SERVED_ATTEMPTS_MAX; attempt++) {
    answer = await askAdmin(edge, '/api/version');
    if ((JSON.parse(answer) as { version: unknown }).version === version) return;
  }
  throw new Error(`the edge does not serve version ${version}: ${answer}`);
}

/** The body of an answer of the admin API. */
function askAdmin({ worker, admin }: Edge, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { host: admin.host, authorization: `Bearer ${admin.token}` };
    const options = { ...worker, path: `http://${admin.host}${path}`, headers, agent: false };
    request(options, async (response) => {
      let body = '';
      try {
        for await (const chunk of response.setEncoding('utf8')) body += chunk;
        resolve(body);
      } catch (error) {
        reject(error);
      }
    })
      .on('error', reject)
      .end();
  });
}
