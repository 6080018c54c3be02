import { format, inspect } from 'node:util';
import { serialize } from 'node:v8';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { SecretText } from '../syncer/secret-text.ts';

const secret = new SecretText('hunter2');
const nested = { user: { password: secret }, list: [secret] };

describe('a SecretText never prints', () => {
  test.each<[string, () => string]>([
    ['as text', () => String(secret)],
    ['in a template', () => `key: ${secret}`],
    ['joined to text', () => `key: ${[secret, secret].join()}`],
    ['as JSON', () => JSON.stringify(nested)],
    ['inspected', () => inspect(nested, { depth: null, showHidden: true, getters: true })],
    ['inspected without its own way', () => inspect(nested, { customInspect: false, depth: null })],
    ['formatted', () => format('%s %o %O %j', secret, nested, nested, nested)],
    ['in an error', () => inspect(new Error(`bad key ${secret}`, { cause: nested }))],
    ['by its own properties', () => JSON.stringify(Object.entries({ ...secret }))],
    ['cloned', () => inspect(structuredClone(secret))],
    ['serialised', () => serialize(nested).toString('latin1')],
  ])('%s', (_, print) => {
    expect(print()).not.toContain('hunter2');
  });

  test('in a log line', () => {
    const lines: string[] = [];
    const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) });
    log.info({ secret, nested }, 'read %s', secret);
    log.error(Object.assign(new Error(`bad ${secret}`), { secret }), 'failed');
    log.child({ secret }).warn('child');
    expect(lines).toHaveLength(3);
    expect(lines.join('')).not.toContain('hunter2');
    expect(lines[0]).toContain('"secret":"[redacted]"');
  });
});

test('it gives its text to whoever asks by name', () => {
  expect(secret.reveal()).toBe('hunter2');
  expect([secret.isEmpty, new SecretText('').isEmpty]).toEqual([false, true]);
});
