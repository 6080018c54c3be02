import { readCertificateSettings } from './certificates/certificate-config.ts';
import type { CertificateSettings } from './certificates/edge-tls.ts';
import { CLOUDFLARE_BASE_URL } from './cloudflare/api.ts';
import { environmentName, OPTION_TABLE } from './compile/option-table.ts';
import { type CompileOptions, DEFAULTS } from './compile/options.ts';
import { type ProcessConfig, readProcessConfig } from './process-config.ts';
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
  readonly certificates: CertificateSettings;
  readonly process: ProcessConfig;
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
  const chosen = OPTION_TABLE.map((row) =>
    attempt<Partial<CompileOptions>>(environmentName(row), {}, (text) => row.parse(text)),
  );
  const compile: CompileOptions = Object.assign({}, DEFAULTS, ...chosen);
  const certificates = readCertificateSettings(attempt);
  const cluster = env.CAUSEWAY_CLUSTER || 'default';
  const process = readProcessConfig(env, cluster, mistakes);
  if (mistakes.length > 0) throw new Error(`cannot start: ${mistakes.join('; ')}`);
  return {
    cloudflare: {
      baseUrl: env.CLOUDFLARE_BASE_URL || CLOUDFLARE_BASE_URL,
      token: new SecretText(env.CLOUDFLARE_API_TOKEN ?? ''),
      accountId: env.CLOUDFLARE_ACCOUNT_ID ?? '',
      namespaceId: env.CAUSEWAY_KV_NAMESPACE_ID ?? '',
      databaseId: env.CAUSEWAY_D1_DATABASE_ID ?? '',
    },
    cluster,
    signingKey: env.CAUSEWAY_SIGNING_KEY ? new SecretText(env.CAUSEWAY_SIGNING_KEY) : null,
    kubeconfig: env.KUBECONFIG || null,
    compile,
    certificates,
    process,
  };
}
