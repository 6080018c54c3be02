import { type IRequestStrict, Router } from 'itty-router';
import {
  controlAccount,
  listDomains,
  listZones,
  readSetting,
  writeSetting,
} from './cloudflare-api/account.ts';
import {
  createAuthority,
  deleteAuthority,
  listAuthorities,
  readAssociation,
  replaceAssociation,
} from './cloudflare-api/authorities.ts';
import {
  createCustom,
  deleteCustom,
  listCustom,
  listPacks,
  replaceCustom,
} from './cloudflare-api/custom-certificates.ts';
import { runStatements } from './cloudflare-api/d1.ts';
import type { Env } from './cloudflare-api/env.ts';
import { ApiError, fail } from './cloudflare-api/envelope.ts';
import {
  answerInstead,
  brokenAnswer,
  control,
  type FaultResponse,
  takeFault,
} from './cloudflare-api/faults.ts';
import { bulkDelete, bulkPut, listKeys, putValue } from './cloudflare-api/kv.ts';

/**
 * The Cloudflare REST API in front of Miniflare's KV and D1, and of an account of its own for zones
 * and certificates: just the calls that the syncer makes, with production's envelope, limits and
 * refusals, so that the one publishing path runs unchanged against it.
 */
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (env.FAULTS === '1' && /^\/__(faults|calls)$/.test(pathname)) return control(request);
    if (env.FAULTS === '1' && pathname === '/__account') return controlAccount(request, env);
    const fault = env.FAULTS === '1' ? takeFault(request.method, pathname) : null;
    const answer = answerInstead(fault) ?? (await router.fetch(request as IRequest, env, fault));
    return fault?.kind === 'drop' ? brokenAnswer() : answer;
  },
} satisfies ExportedHandler<Env>;

type IRequest = IRequestStrict & Request;
type Args = [env: Env, fault: FaultResponse | null];

const KV = '/accounts/:account/storage/kv/namespaces/:namespace';
const D1 = '/accounts/:account/d1/database/:database';
const AUTHORITIES = '/accounts/:account/mtls_certificates';
const CUSTOM = '/zones/:zone/custom_certificates';
const ASSOCIATIONS = '/zones/:zone/certificate_authorities/hostname_associations';
const SETTING = '/zones/:zone/settings/:setting';

const router = Router<IRequest, Args>({
  base: '/client/v4',
  before: [authorise],
  catch: (error: unknown) => {
    if (error instanceof ApiError) return fail(error);
    console.error(error);
    return fail(new ApiError(500, 10001, 'internal error'));
  },
})
  .all(`${KV}/*`, checkNamespace)
  .all(`${D1}/*`, checkDatabase)
  .put(`${KV}/bulk`, (request, env, fault) => bulkPut(request, env, failing(fault)))
  .post(`${KV}/bulk/delete`, (request, env, fault) => bulkDelete(request, env, failing(fault)))
  .get(`${KV}/keys`, (request, env) => listKeys(new URL(request.url), env))
  .put(`${KV}/values/:key`, (request, env) =>
    putValue(request, env, decodeURIComponent(request.params.key ?? '')),
  )
  .post(`${D1}/query`, (request, env, fault) => runStatements(request, env, 'query', only(fault)))
  .post(`${D1}/raw`, (request, env, fault) => runStatements(request, env, 'raw', only(fault)))
  .get('/zones', (request, env) => listZones(new URL(request.url), env))
  .get(CUSTOM, (request, env) => listCustom(new URL(request.url), env, request.params.zone))
  .post(CUSTOM, (request, env) => createCustom(request, env, request.params.zone))
  .patch(`${CUSTOM}/:id`, (request, env) =>
    replaceCustom(request, env, request.params.zone, request.params.id ?? ''),
  )
  .delete(`${CUSTOM}/:id`, ({ params }, env) => deleteCustom(env, params.zone, params.id ?? ''))
  .get('/zones/:zone/ssl/certificate_packs', (request, env) =>
    listPacks(new URL(request.url), env, request.params.zone),
  )
  .get(SETTING, ({ params }, env) => readSetting(env, params.zone, params.setting ?? ''))
  .patch(SETTING, (request, env) =>
    writeSetting(request, env, request.params.zone, request.params.setting ?? ''),
  )
  .get(ASSOCIATIONS, (request, env) =>
    readAssociation(new URL(request.url), env, request.params.zone),
  )
  .put(ASSOCIATIONS, (request, env) => replaceAssociation(request, env, request.params.zone))
  .all('/accounts/:account/*', checkAccount)
  .get('/accounts/:account/workers/domains', (_, env) => listDomains(env))
  .get(AUTHORITIES, (_, env) => listAuthorities(env))
  .post(AUTHORITIES, (request, env) => createAuthority(request, env))
  .delete(`${AUTHORITIES}/:id`, ({ params }, env) => deleteAuthority(env, params.id ?? ''))
  .all('*', (request) => {
    throw new ApiError(
      404,
      7000,
      `No route for ${request.method} ${new URL(request.url).pathname}`,
    );
  });

function authorise(request: IRequest, env: Env): void {
  const header = request.headers.get('authorization');
  if (header === null) {
    const text = 'Missing X-Auth-Key, X-Auth-Email or Authorization headers';
    throw new ApiError(400, 9106, text);
  }
  if (header !== `Bearer ${env.API_TOKEN}`) {
    throw new ApiError(401, 10000, 'Authentication error');
  }
}

function checkAccount({ params }: IRequest, env: Env): void {
  if (params.account !== env.ACCOUNT_ID) throw new ApiError(403, 10000, 'Authentication error');
}

function checkNamespace(request: IRequest, env: Env): void {
  checkAccount(request, env);
  const { params } = request;
  if (params.namespace !== env.NAMESPACE_ID) {
    throw new ApiError(404, 10013, `namespace not found: ${params.namespace}`);
  }
}

function checkDatabase(request: IRequest, env: Env): void {
  checkAccount(request, env);
  const { params } = request;
  if (params.database !== env.DATABASE_ID) {
    throw new ApiError(404, 7404, `The database ${params.database} could not be found`);
  }
}

function failing(fault: FaultResponse | null): number {
  return fault?.kind === 'partial' ? fault.failing : 0;
}

function only(fault: FaultResponse | null): readonly number[] | null {
  return fault?.kind === 'only' ? fault.statements : null;
}
