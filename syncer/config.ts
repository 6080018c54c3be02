import { CLOUDFLARE_BASE_URL } from './cloudflare/api.ts';
import { type CompileOptions, DEFAULTS, parseServiceRef } from './compile/options.ts';
import { SecretText } from './secret-text.ts';

/** What `causeway sync` is told by its environment, after the door. */
export interface Config {
  readonly cloudflare: {
    readonly baseUrl: string;
    readonly token: SecretText;
    readonly accountId: string;
    readonly namespaceId: string;
    readonly databaseId: string;
  };
  readonly cluster: string;
  /** The private half of `causeway keygen`; null publishes unsigned. */
  readonly signingKey: SecretText | null;
  /** File with the credentials of the Kubernetes API; null for those of the pod. */
  readonly kubeconfig: string | null;
  readonly compile: CompileOptions;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The settings that have no default, with what they are. */
const REQUIRED = {
  CLOUDFLARE_API_TOKEN: 'an API token with Workers KV Storage Edit and D1 Edit',
  CLOUDFLARE_ACCOUNT_ID: 'the account that the token is of',
  CAUSEWAY_KV_NAMESPACE_ID: 'the id that "wrangler kv namespace create" printed',
  CAUSEWAY_D1_DATABASE_ID: 'the id that "wrangler d1 create" printed',
} as const;

/** @throws Error that names every setting that is missing or cannot be understood. */
export function readConfig(env: Environment): Config {
  const mistakes = Object.entries(REQUIRED).flatMap(([name, meaning]) =>
    env[name] ? [] : [`${name} is not set (${meaning})`],
  );
  const attempt = <T>(name: string, otherwise: T, parse: (text: string) => T): T => {
    const text = env[name];
    if (!text) return otherwise;
    try {
      return parse(text);
    } catch (error) {
      mistakes.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return otherwise;
    }
  };
  const compile: CompileOptions = {
    controllerName: env.CAUSEWAY_CONTROLLER_NAME || DEFAULTS.controllerName,
    ingressClass: env.CAUSEWAY_INGRESS_CLASS || DEFAULTS.ingressClass,
    watchIngressWithoutClass: attempt('CAUSEWAY_WATCH_INGRESS_WITHOUT_CLASS', false, flag),
    defaultBackendService: attempt('CAUSEWAY_DEFAULT_BACKEND_SERVICE', null, parseServiceRef),
    disableCatchAll: attempt('CAUSEWAY_DISABLE_CATCH_ALL', false, flag),
    disableExternalName: attempt('CAUSEWAY_DISABLE_EXTERNAL_NAME', false, flag),
    hostOwnership: attempt('CAUSEWAY_HOST_OWNERSHIP', DEFAULTS.hostOwnership, (text) =>
      oneOf(text, ['shared', 'strict']),
    ),
    nodeAddressTypes: attempt('CAUSEWAY_NODE_ADDRESS_TYPES', DEFAULTS.nodeAddressTypes, (text) =>
      text.split(',').map((it) => it.trim()),
    ),
    dialer: attempt('CAUSEWAY_DIALER', DEFAULTS.dialer, (text) => oneOf(text, ['socket', 'vpc'])),
    addressPolicy: 'production',
  };
  if (mistakes.length > 0) throw new Error(`cannot start: ${mistakes.join('; ')}`);
  return {
    cloudflare: {
      baseUrl: env.CLOUDFLARE_BASE_URL || CLOUDFLARE_BASE_URL,
      token: new SecretText(env.CLOUDFLARE_API_TOKEN ?? ''),
      accountId: env.CLOUDFLARE_ACCOUNT_ID ?? '',
      namespaceId: env.CAUSEWAY_KV_NAMESPACE_ID ?? '',
      databaseId: env.CAUSEWAY_D1_DATABASE_ID ?? '',
    },
    cluster: env.CAUSEWAY_CLUSTER || 'default',
    signingKey: env.CAUSEWAY_SIGNING_KEY ? new SecretText(env.CAUSEWAY_SIGNING_KEY) : null,
    kubeconfig: env.KUBECONFIG || null,
    compile,
  };
}

function flag(text: string): boolean {
  return oneOf(text, ['true', 'false']) === 'true';
}

function oneOf<T extends string>(text: string, allowed: readonly T[]): T {
  const found = allowed.find((it) => it === text);
  if (found === undefined) throw new Error(`"${text}" is none of ${allowed.join(', ')}`);
  return found;
}
