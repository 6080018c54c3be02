import { readFileSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { addControllerFlags, compileOptions, LOCAL_DEFAULTS } from '../local/controller-options.ts';
import { environmentName, OPTION_TABLE } from '../syncer/compile/option-table.ts';
import { DEFAULTS } from '../syncer/compile/options.ts';
import { readConfig } from '../syncer/config.ts';
import { EVERYTHING, parseLabelSelector, selects } from '../syncer/kubernetes/label-selector.ts';
import { watchScope } from '../syncer/watch-scope.ts';
import { optionsPage } from './support/options-page.ts';

const PAGE = new URL('../docs/options.md', import.meta.url);

const NEEDED = {
  CLOUDFLARE_API_TOKEN: 't',
  CLOUDFLARE_ACCOUNT_ID: 'a',
  CAUSEWAY_KV_NAMESPACE_ID: 'k',
  CAUSEWAY_D1_DATABASE_ID: 'd',
  CAUSEWAY_LEASE_NAMESPACE: 'edge',
};

function fromFlags(...args: string[]) {
  const command = addControllerFlags(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return compileOptions(command.parse(args, { from: 'user' }).opts());
}

const fromEnvironment = (env: Record<string, string>) => readConfig({ ...NEEDED, ...env }).compile;

/** A value of each option that is not its default, as text. */
const EXAMPLES: Readonly<Record<string, string>> = {
  'controller-name': 'acme.example/controller',
  'ingress-class': 'acme',
  'watch-ingress-without-class': 'true',
  'default-class': 'ignored',
  'watch-namespace': 'a,b',
  'watch-namespace-selector': 'team in (a,b),!frozen',
  'default-backend-service': 'ns/web:8080',
  'disable-catch-all': 'true',
  'disable-external-name': 'true',
  'host-ownership': 'strict',
  'node-address-types': 'InternalIP,Hostname',
  'node-selector': 'pool=edge',
  dialer: 'vpc',
  'ssl-redirect': 'false',
  'force-ssl-redirect': 'true',
  hsts: 'true',
  'hsts-max-age': '300',
  'hsts-include-subdomains': 'true',
  'hsts-preload': 'true',
  'publish-address': 'edge.example.com,192.0.2.1,2001:db8::1',
  'publish-service': 'edge/front',
};

test('every option has an example here', () => {
  expect(Object.keys(EXAMPLES)).toEqual(OPTION_TABLE.map((it) => it.name));
});

test.each(OPTION_TABLE)('$name means the same as a flag and in the environment', (row) => {
  const text = EXAMPLES[row.name] ?? '';
  const parsed = { ...DEFAULTS, ...row.parse(text) };
  expect(parsed).not.toEqual(DEFAULTS);
  expect(row.format(parsed)).toBe(text);
  expect(fromEnvironment({ [environmentName(row)]: text })).toEqual(parsed);
  const isOnAlready = row.value === null && row.format(LOCAL_DEFAULTS) === 'true';
  const flags = row.value === null ? [`--${row.name}`] : [`--${row.name}`, text];
  if (!isOnAlready) expect(fromFlags(...flags)).toEqual({ ...LOCAL_DEFAULTS, ...row.parse(text) });
});

describe('flags', () => {
  test('none', () => {
    expect(fromFlags()).toEqual(LOCAL_DEFAULTS);
    expect(fromFlags('--production-rules').addressPolicy).toBe('production');
  });

  test('that are on can be switched off', () => {
    expect(fromFlags('--no-watch-ingress-without-class').watchIngressWithoutClass).toBe(false);
    expect(fromFlags('--no-ssl-redirect').sslRedirect).toBe(false);
  });

  test('that may be repeated add up', () => {
    const flags = ['--watch-namespace', 'b', '--watch-namespace', 'a,b'];
    expect(fromFlags(...flags).watchNamespaces).toEqual(['b', 'a']);
  });

  test.each([
    ['--host-ownership', 'mine', /"mine" is none of shared, strict/],
    ['--publish-address', 'Edge.example', /neither an IP address nor a hostname/],
    ['--publish-address', '1.2.3', /neither an IP address nor a hostname/],
    ['--publish-service', 'a/b:80', /not namespace\/name/],
    ['--watch-namespace', 'a/b', /not the name of a namespace/],
    ['--watch-namespace', ',', /names nothing/],
    ['--hsts-max-age', '1y', /not a whole number of seconds/],
    ['--node-selector', 'a in b', /no condition on a label/],
    ['--node-selector', 'a=b c', /no value of a label|no condition on a label/],
  ])('%s %s is refused with the reason', (flag, text, message) => {
    expect(() => fromFlags(flag, text)).toThrow(message);
  });
});

test('every mistake in the environment is named, with its variable', () => {
  const env = {
    CAUSEWAY_DIALER: 'x',
    CAUSEWAY_NODE_SELECTOR: '!',
    CAUSEWAY_DISABLE_CATCH_ALL: '1',
  };
  expect(() => fromEnvironment(env)).toThrow(
    /DISABLE_CATCH_ALL: "1" is none of true, false; CAUSEWAY_NODE_SELECTOR: .*; CAUSEWAY_DIALER: /,
  );
});

test('docs/options.md is what the table says', () => {
  const page = optionsPage();
  if (process.env.CAUSEWAY_WRITE_GOLDEN === '1') writeFileSync(PAGE, page);
  expect(readFileSync(PAGE, 'utf8')).toBe(page);
});

describe('label selectors', () => {
  const labels = { team: 'shop', tier: '', 'example.com/edge': 'yes' };
  test.each([
    ['team=shop', true],
    ['team==shop', true],
    ['team=pay', false],
    ['team!=pay', true],
    ['other!=pay', true],
    ['team in (shop, pay)', true],
    ['team notin (shop,pay)', false],
    ['other notin (shop)', true],
    ['team', true],
    ['other', false],
    ['!other', true],
    ['! team', false],
    ['tier=', true],
    ['example.com/edge=yes,team in (shop,pay),!other', true],
    ['example.com/edge=yes,team=pay', false],
    ['toString', false],
  ])('%s', (text, selected) => {
    expect(selects(parseLabelSelector(text), labels)).toBe(selected);
  });

  test.each([
    '',
    ',',
    'a=b,',
    '=b',
    'a=b=c',
    'a in b',
    'a in (b',
    'a>b',
    '-a',
    'a/b/c',
    'a=-',
    '!',
  ])('"%s" is refused', (text) => expect(() => parseLabelSelector(text)).toThrow());

  test('none selects everything', () => expect(selects(EVERYTHING, {})).toBe(true));
});

describe('what is watched', () => {
  test('Namespaces for a selector only', () => {
    expect(watchScope(DEFAULTS).kinds).not.toContain('Namespace');
    const watchNamespaceSelector = parseLabelSelector('a');
    expect(watchScope({ ...DEFAULTS, watchNamespaceSelector }).kinds).toContain('Namespace');
  });

  test('the namespaces that are named, and those of Services that options name', () => {
    expect(watchScope(DEFAULTS).namespaces).toBeNull();
    const options = { ...DEFAULTS, publishService: { namespace: 'edge', name: 'front' } };
    expect(watchScope(options).namespaces).toBeNull();
    const watchNamespaces = ['shop', 'pay'];
    expect(watchScope({ ...options, watchNamespaces }).namespaces).toEqual(['edge', 'pay', 'shop']);
  });
});
