/** What an account has beside KV and D1, as far as the syncer asks for it. */
export interface Account {
  readonly zones: readonly LocalZone[];
  /** Hosts that are custom domains of a worker. */
  readonly domains: readonly { readonly hostname: string; readonly zone: string }[];
  /** How many authorities for client certificates may be uploaded. */
  readonly authoritiesMax: number;
  /** The time of day, in milliseconds since the epoch; absent for this machine's. */
  readonly nowMs?: number;
}

export interface LocalZone {
  readonly id: string;
  readonly name: string;
  readonly plan: 'free' | 'pro' | 'business' | 'enterprise';
  /** How many packs of custom certificates it may have; default by {@link plan}. */
  readonly customPacksMax?: number;
  /** Certificates that Cloudflare manages; those uploaded are packs as well. */
  readonly packs?: readonly Pack[];
  readonly settings?: Readonly<Record<string, unknown>>;
}

export interface Pack {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly hosts: readonly string[];
}

export const EMPTY: Account = { zones: [], domains: [], authoritiesMax: 5 };

/** Free and Pro have none; the others five (developers.cloudflare.com/ssl/edge-certificates/custom-certificates). */
const CUSTOM_PACKS = { free: 0, pro: 0, business: 5, enterprise: 5 } as const;

export function customPacksMax({ plan, customPacksMax }: LocalZone): number {
  return customPacksMax ?? CUSTOM_PACKS[plan];
}
