import type { Logger } from '../log.ts';
import type { CertificateLedger } from './certificate-ledger.ts';
import type { TlsApi } from './tls-api.ts';

/** What it takes to bring something to Cloudflare and to know later that it is ours. */
export interface UploadOptions {
  readonly tls: TlsApi;
  readonly ledger: CertificateLedger;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  readonly newId: () => string;
  readonly log: Logger;
}
