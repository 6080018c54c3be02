import { describe, expect, test } from 'vitest';
import { upstreamHeaders } from '../worker/headers.ts';
import { parseRequestUrl } from '../worker/request-url.ts';

function sent(client: Record<string, string>, target = 'http://app.example/') {
  const url = parseRequestUrl(target);
  if (!url) throw new Error(`${target} is no URL`);
  const requestId = { id: 'id', traceparent: 'trace' };
  return upstreamHeaders(new Headers(client), { url, requestId });
}

const OURS = [
  ['x-forwarded-host', 'app.example'],
  ['x-forwarded-port', '80'],
  ['x-forwarded-proto', 'http'],
  ['x-request-id', 'id'],
  ['traceparent', 'trace'],
];

describe('a client cannot say', () => {
  test.each([
    'forwarded',
    'proxy',
    'proxy-authorization',
    'traceparent',
    'tracestate',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-forwarded-prefix',
    'ssl-client-verify',
    'ssl-client-subject-dn',
    'ssl-client-cert',
    'x-real-ip',
    'x-request-id',
    'connection',
    'keep-alive',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
    'expect',
    'host',
    'content-length',
  ])('%s, in whatever spelling a CGI program would take for it', (name) => {
    expect(sent({ [name]: '1' })).toEqual(OURS);
    expect(sent({ [name.toUpperCase()]: '1' })).toEqual(OURS);
    // A CGI program and its heirs (WSGI, Rack, PHP) read X_Forwarded_For as X-Forwarded-For.
    expect(sent({ [name.replaceAll('-', '_')]: '1' })).toEqual(OURS);
    expect(sent({ [name.replace('-', '_')]: '1' })).toEqual(OURS);
  });

  test('who it is, but by the address that Cloudflare saw', () => {
    const client = { 'cf-connecting-ip': '8.8.8.8', cf_connecting_ip: '127.0.0.1' };
    expect(sent(client)).toEqual([
      ['cf-connecting-ip', '8.8.8.8'],
      ['x-forwarded-for', '8.8.8.8'],
      ['x-real-ip', '8.8.8.8'],
      ...OURS,
    ]);
  });

  test('what is for this hop only, nor what is not', () => {
    const client = { connection: 'close, X-Hop, Cookie, Authorization', 'x-hop': '1' };
    expect(sent({ ...client, cookie: 'a=b', authorization: 'Basic x' })).toEqual([
      ['authorization', 'Basic x'],
      ['cookie', 'a=b'],
      ...OURS,
    ]);
  });
});

test('all else passes, names with an underscore too', () => {
  expect(sent({ accept: '*/*', x_custom: '1', 'user-agent': 'curl' })).toEqual([
    ['accept', '*/*'],
    ['user-agent', 'curl'],
    ['x_custom', '1'],
    ...OURS,
  ]);
});

test.each([
  ['http://app.example/', 'app.example', '80', 'http'],
  ['https://app.example/', 'app.example', '443', 'https'],
  ['https://app.example:8443/', 'app.example:8443', '8443', 'https'],
  ['http://[2001:db8::1]/', '[2001:db8::1]', '80', 'http'],
  ['http://[2001:db8::1]:8080/', '[2001:db8::1]:8080', '8080', 'http'],
])('%s was asked for by host, port and scheme', (target, host, port, proto) => {
  const headers = new Map(sent({}, target));
  expect([
    headers.get('x-forwarded-host'),
    headers.get('x-forwarded-port'),
    headers.get('x-forwarded-proto'),
  ]).toEqual([host, port, proto]);
});
