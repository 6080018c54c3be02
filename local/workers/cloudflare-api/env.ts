/** What Miniflare binds to the worker of the local Cloudflare API. */
export interface Env {
  readonly KV: KVNamespace;
  readonly DB: D1Database;
  /** What the account has beside them: zones, certificates, settings; see `account.ts`. */
  readonly ACCOUNT: KVNamespace;
  readonly API_TOKEN: string;
  readonly ACCOUNT_ID: string;
  readonly NAMESPACE_ID: string;
  readonly DATABASE_ID: string;
  /** `1` opens the control route of `faults.ts`; tests only. */
  readonly FAULTS?: string;
}
