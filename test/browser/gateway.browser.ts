import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { Gateway } from '../../local/gateway.ts';
import { startFilesGateway } from '../support/files-gateway.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));

let browser: Browser;
let gateway: Gateway;
let port: string;
let profile: string;

beforeAll(async () => {
  gateway = await startFilesGateway(EXAMPLES, { echo: true });
  port = new URL(gateway.httpUrl).port;
  profile = await mkdtemp(join(tmpdir(), 'causeway-browser-'));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // Trusted is the certificate of the Secret, and no other.
      `--ignore-certificate-errors-spki-list=${await keyOfSecret()}`,
      '--host-resolver-rules=MAP *.example.com 127.0.0.1, MAP example.com 127.0.0.1',
    ],
    env: { ...process.env, HOME: profile },
  });
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
  if (profile) await rm(profile, { recursive: true, force: true });
});

/** SHA-256 of the public key in the Secret that the examples have for example.com, base64. */
async function keyOfSecret(): Promise<string> {
  const { data } = parse(await readFile(join(EXAMPLES, 'tls-ingress', 'secret.yaml'), 'utf8'));
  const { publicKey } = new X509Certificate(Buffer.from(data['tls.crt'], 'base64'));
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('base64');
}

test('a page arrives from the Service that its path names, over https although asked without', async () => {
  const page = await browser.newPage();
  const answer = await page.goto(`http://example.com:${port}/a/page?q=1`);
  expect(answer?.status()).toBe(200);
  expect(page.url()).toBe(`${gateway.httpsUrl.replace('127.0.0.1', 'example.com')}/a/page?q=1`);
  const echo = JSON.parse((await page.textContent('body')) ?? '');
  expect(echo).toMatchObject({ service: 'service1', path: '/a/page?q=1' });
  expect(echo.headers.host).toBe(new URL(page.url()).host);
  expect(echo.headers['x-forwarded-proto']).toBe('https');
  expect(await answer?.securityDetails()).toMatchObject({
    subjectName: 'example.com',
    protocol: 'TLS 1.3',
  });
  const protocol = await page.evaluate(
    'performance.getEntriesByType("navigation")[0].nextHopProtocol',
  );
  expect(protocol).toBe('h2');
  await page.close();
});

test('a browser warns of a host for which there is no certificate', async () => {
  const page = await browser.newPage();
  const url = gateway.httpsUrl.replace('127.0.0.1', 'chat.example.com');
  await expect(page.goto(url)).rejects.toThrow('ERR_CERT_AUTHORITY_INVALID');
  await page.close();
});

test('a browser gets our own answers as a page that names status and request id only', async () => {
  const page = await browser.newPage();
  const answer = await page.goto(`http://chat.example.com:${port}/nowhere`);
  expect(answer?.status()).toBe(404);
  expect(await page.textContent('h1')).toBe('404 Not Found');
  expect(await page.textContent('code')).toBe(answer?.headers()['x-request-id']);
  await page.close();
});

test('a WebSocket of a browser is answered by the Service behind it', async () => {
  const page = await browser.newPage();
  await page.goto(`http://chat.example.com:${port}/nowhere`);
  const answers = await page.evaluate(
    (url) =>
      new Promise<unknown[]>((resolve, reject) => {
        const answers: unknown[] = [];
        const socket = new WebSocket(url);
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => {
          socket.send('grüße');
          socket.send(new Uint8Array([1, 2, 3]));
        };
        socket.onmessage = ({ data }) => {
          answers.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
          if (answers.length === 2) socket.close(1000, 'done');
        };
        socket.onclose = ({ code, wasClean }) => resolve([...answers, code, wasClean]);
        socket.onerror = () => reject(new Error('the socket failed'));
      }),
    `ws://chat.example.com:${port}/ws`,
  );
  expect(answers).toEqual(['grüße', [1, 2, 3], 1000, true]);
  await page.close();
});
