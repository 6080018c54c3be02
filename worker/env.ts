/** The bindings and variables of wrangler.toml, as the runtime gives them. */
export interface Env {
  readonly KV: KVNamespace;
  readonly DB: D1Database;
  /** A Workers VPC network, for upstreams that only a tunnel reaches. */
  readonly VPC?: VpcNetwork;
  readonly CLUSTER?: string;
  readonly REFRESH_SECONDS?: string;
  readonly CONNECT_TIMEOUT_MS?: string;
  readonly RESPONSE_TIMEOUT_MS?: string;
  /** The port to which clients are sent that have to come with https. */
  readonly HTTPS_PORT?: string;
  /** Set by the local gateway only, whose front does. */
  readonly TELLS_SERVER_NAME?: string;
  readonly ADDRESS_POLICY?: string;
  /** Ed25519 public key of `causeway keygen`. With it, only signed manifests are served. */
  readonly MANIFEST_PUBLIC_KEY?: string;
  readonly ADMIN_HOST?: string;
  readonly ADMIN_TOKEN?: string;
}

/** What we use of a VPC network binding; the local gateway has one of its own with this shape. */
export interface VpcNetwork {
  connect(address: SocketAddress, options?: SocketOptions): Socket;
}

/** {@link Env} after the door: every field checked and filled in. */
export interface Settings {
  readonly cluster: string;
  readonly refreshMs: number;
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  readonly httpsPort: number;
  /** Whether `request.cf` has the name that a connection was opened for. Not on Cloudflare. */
  readonly tellsServerName: boolean;
  readonly addressPolicy: 'local' | 'production';
  readonly publicKey: string | null;
  readonly admin: { readonly host: string; readonly token: string } | null;
}

export function readSettings(env: Env): Settings {
  const { ADMIN_HOST: host, ADMIN_TOKEN: token, MANIFEST_PUBLIC_KEY: publicKey } = env;
  return {
    cluster: env.CLUSTER || 'default',
    refreshMs: number(env.REFRESH_SECONDS, 1) * 1000,
    connectTimeoutMs: number(env.CONNECT_TIMEOUT_MS, 3000),
    responseTimeoutMs: number(env.RESPONSE_TIMEOUT_MS, 60_000),
    httpsPort: number(env.HTTPS_PORT, 443),
    // Taking `request.cf` apart costs a request a few hundredths of its time.
    tellsServerName: env.TELLS_SERVER_NAME === 'true',
    // Only the local gateway may dial private addresses, and it says so.
    addressPolicy: env.ADDRESS_POLICY === 'local' ? 'local' : 'production',
    publicKey: publicKey || null,
    admin: host && token ? { host: host.toLowerCase(), token } : null,
  };
}

function number(text: string | undefined, otherwise: number): number {
  const value = Number(text ?? '');
  return text && Number.isFinite(value) && value >= 0 ? value : otherwise;
}
