import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { defaultCertificate } from '../../local/tls/default-certificate.ts';

const NOW_MS = Date.parse('2026-11-22T12:00:00Z');
const DAY_MS = 24 * 60 * 60_000;

let folder: string;
let file: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'causeway-default-')), 'state');
  file = join(folder, 'default-certificate');
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

it('is made once, and kept for its owner alone', async () => {
  const made = await defaultCertificate(folder, NOW_MS);
  expect(readdirSync(folder)).toEqual(['default-certificate']);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = await defaultCertificate(folder, NOW_MS + 399 * DAY_MS);
  expect(again.chain).toBe(made.chain);
  expect(again.privateKey.reveal().trim()).toBe(made.privateKey.reveal().trim());
  expect(inspect([made, again], { depth: 9 })).not.toContain('PRIVATE');
});

it('is for this machine by name and address, and no authority', async () => {
  const { chain } = await defaultCertificate(null, NOW_MS);
  const certificate = new X509Certificate(chain);
  expect(certificate.checkHost('localhost')).toBe('localhost');
  expect(certificate.checkHost('a.example')).toBeUndefined();
  for (const ip of ['127.0.0.1', '::1']) expect(certificate.checkIP(ip)).toBe(ip);
  expect(certificate.ca).toBe(false);
  const { validFromDate, validToDate } = certificate;
  expect(validFromDate.getTime()).toBeLessThan(NOW_MS);
  expect(validToDate.getTime() - NOW_MS).toBeGreaterThan(400 * DAY_MS);
});

it.each([
  ['long before it expires', (text: string) => text, 401],
  ['when it is damaged', (text: string) => text.slice(0, -100), 0],
  ['when nothing is left of it', () => '', 0],
  ['when its key is that of another', swapped, 0],
])('is made anew %s', async (_, change, days) => {
  const first = await defaultCertificate(folder, NOW_MS);
  other = (await defaultCertificate(null, NOW_MS)).privateKey.reveal();
  writeFileSync(file, change(readFileSync(file, 'utf8')));
  const nowMs = NOW_MS + days * DAY_MS;
  const second = await defaultCertificate(folder, nowMs);
  expect(second.chain).not.toBe(first.chain);
  expect((await defaultCertificate(folder, nowMs)).chain).toBe(second.chain);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

let other = '';
function swapped(text: string): string {
  return text.slice(0, text.indexOf('-----BEGIN PRIVATE KEY')) + other;
}
