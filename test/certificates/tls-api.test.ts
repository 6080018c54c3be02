import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { refusalOf } from '../../syncer/certificates/refusal.ts';
import { TlsApi } from '../../syncer/certificates/tls-api.ts';
import { CloudflareApi } from '../../syncer/cloudflare/api.ts';
import { CallBudget, CallShare, WINDOW_MS } from '../../syncer/cloudflare/budget.ts';
import { CloudflareError } from '../../syncer/cloudflare/error.ts';
import { SecretText } from '../../syncer/secret-text.ts';
import { LeapingClock } from '../publish/support/clocks.ts';
import { type Issued, newAuthority } from '../support/certificates.ts';
import { KeyLeaks } from '../support/key-leaks.ts';
import { certificateIn } from './support/edge.ts';

/** Calls about TLS, answered by a Cloudflare that does as it likes. */

type Answer = (sent: string) => { readonly status: number; readonly body: string };

let server: Server;
let answer: Answer;
let issued: Issued;
beforeAll(async () => {
  // Its secret number comes early in the text of the key, before an error is cut off.
  issued = await (await newAuthority()).issue({ names: ['app.example.com'], keyType: 'ecdsa' });
  server = createServer(async (request, response) => {
    const { status, body } = answer(await text(request));
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

const ZONE = { id: 'zone-1', name: 'example.com', plan: 'business', customCertificatesMax: 5 };

function tlsApi(): TlsApi {
  const clock = new LeapingClock();
  return new TlsApi(
    new CloudflareApi({
      baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/client/v4`,
      accountId: 'account-1',
      token: new SecretText('token'),
      clock,
      random: () => 0.5,
      signal: new AbortController().signal,
    }),
  );
}

async function errorOfUpload(): Promise<unknown> {
  return tlsApi()
    .createCustom(ZONE, certificateIn('app', issued))
    .then(
      () => null,
      (error) => error,
    );
}

const failing = (status: number, message: string) => ({
  status,
  body: JSON.stringify({ success: false, errors: [{ code: 1, message }], result: null }),
});

describe('what quotes the request that it was sent', () => {
  const keyIn = (sent: string): string => JSON.parse(sent).private_key;
  const ways: Readonly<Record<string, Answer>> = {
    'as it is': (sent) => failing(400, `cannot read ${sent}`),
    'the key alone': (sent) => failing(400, `bad key: ${keyIn(sent)}`),
    'the key without its end': (sent) => failing(400, `bad key: ${keyIn(sent).slice(0, 200)}`),
    'as no answer of the API': (sent) => ({ status: 200, body: `<html>${sent}</html>` }),
    'as a proxy': (sent) => ({ status: 502, body: sent }),
    'as the text of a refusal': (sent) => failing(403, sent),
  };

  test.each(Object.entries(ways))('%s: no error has the key', async (_, how) => {
    answer = how;
    const leaks = new KeyLeaks({ app: issued.privateKey });
    const error = await errorOfUpload();
    expect(error).toBeInstanceOf(CloudflareError);
    const { message, stack = '', answer: said } = error as CloudflareError;
    const all = [message, stack, said, inspect(error, { depth: 9 }), JSON.stringify(error)];
    expect(leaks.in('the error', all.join('\n'))).toEqual([]);
  });
});

test.each([
  [400, 'Quota exceeded', 'quota', 'CertificateNotPublished'],
  [400, 'Hit maximum CA cert allocation', 'quota', 'CertificateNotPublished'],
  [403, 'This feature is not part of your plan', 'plan', 'PlanInsufficient'],
  [400, 'You are not entitled to custom certificates', 'plan', 'PlanInsufficient'],
  [400, 'The certificate has expired', 'other', 'CertificateNotPublished'],
])('%i %j is a refusal of the kind %s', async (status, message, kind, reason) => {
  answer = () => failing(status, message);
  expect(refusalOf(await errorOfUpload())).toMatchObject({ kind, reason });
});

test.each([
  [403, 'Authentication error'],
  [401, 'Invalid token'],
  [404, 'Not found'],
  [429, 'More than the quota'],
  [500, 'The plan failed'],
])('%i %j is none', async (status, message) => {
  answer = () => failing(status, message);
  expect(refusalOf(await errorOfUpload())).toBe(null);
});

test('an answer without what is needed is an error, not a certificate without an id', async () => {
  answer = () => ({ status: 200, body: JSON.stringify({ success: true, result: {} }) });
  expect(String(await errorOfUpload())).toMatch(/unexpected answer/);
});

test.each([
  ['as many pages as it says', { page: 1, per_page: 50, total_pages: 3 }, 3],
  ['one page without paging', undefined, 1],
])('a list is read to its end: %s', async (_, info, pages) => {
  let calls = 0;
  const zone = (id: number) => ({ id: `${id}`, name: 'example.com', account: { id: 'account-1' } });
  answer = () => {
    const from = 60 * calls++;
    const result = Array.from({ length: 60 }, (_, i) => zone(from + i));
    return { status: 200, body: JSON.stringify({ success: true, result, result_info: info }) };
  };
  expect(await tlsApi().zones()).toHaveLength(60 * pages);
  expect(calls).toBe(pages);
});

test('calls that have time leave room for those that have none', async () => {
  const clock = new LeapingClock();
  const whole = new CallBudget(clock, 10);
  const share = new CallShare(whole, clock, 4);
  const { signal } = new AbortController();
  for (let call = 0; call < 4; call++) await share.take(signal);
  for (let call = 0; call < 6; call++) await whole.take(signal);
  expect(clock.sleepsMs).toEqual([]);
  await share.take(signal);
  expect(clock.now()).toBe(WINDOW_MS);
  share.pause(5_000);
  share.countRetry();
  await whole.take(signal);
  expect(clock.now()).toBe(WINDOW_MS + 5_000);
  expect(whole.counts).toMatchObject({ calls: 12, retries: 1 });
  expect(share.counts).toEqual(whole.counts);
});
