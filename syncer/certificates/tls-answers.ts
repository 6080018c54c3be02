import * as v from 'valibot';

// What Cloudflare answers to calls about TLS, as far as it is needed, and what that is to us.

/** A certificate that somebody uploaded to a zone, as Cloudflare tells of it. */
export interface RemoteCertificate {
  readonly id: string;
  readonly hosts: readonly string[];
  readonly expiresOnMs: number;
  readonly uploadedOnMs: number;
}

/** Certificates of a zone for the same hosts. */
export interface CertificatePack {
  readonly hosts: readonly string[];
  readonly status: string;
  readonly type: string;
  readonly certificates: readonly { readonly hosts: readonly string[]; readonly status: string }[];
}

/** An authority for client certificates. */
export interface RemoteAuthority {
  readonly id: string;
  readonly name: string;
}

const Text = v.optional(v.string(), '');
export const ZoneAnswer = v.object({
  id: v.string(),
  name: v.string(),
  account: v.object({ id: Text }),
  plan: v.optional(v.object({ legacy_id: Text })),
  meta: v.optional(v.object({ custom_certificate_quota: v.optional(v.number()) })),
});
export const CustomAnswer = v.object({
  id: v.string(),
  hosts: v.optional(v.array(v.string()), []),
  expires_on: Text,
  uploaded_on: Text,
});
export const PackAnswer = v.object({
  hosts: v.array(v.string()),
  status: v.string(),
  type: Text,
  certificates: v.optional(
    v.array(v.object({ hosts: v.optional(v.array(v.string()), []), status: Text })),
    [],
  ),
});
export const DomainAnswer = v.object({ hostname: v.string(), zone_id: Text });
export const AuthorityAnswer = v.object({ id: v.string(), name: Text });
export const HostnamesAnswer = v.object({ hostnames: v.optional(v.array(v.string()), []) });

export function remoteCertificate(answer: v.InferOutput<typeof CustomAnswer>): RemoteCertificate {
  return {
    id: answer.id,
    hosts: answer.hosts.map((it) => it.toLowerCase()),
    expiresOnMs: Date.parse(answer.expires_on),
    uploadedOnMs: Date.parse(answer.uploaded_on),
  };
}

/** A list without paging comes whole, however long it is. */
export function pagesOf(info: unknown): number {
  const parsed = v.safeParse(v.object({ total_pages: v.number() }), info);
  return parsed.success ? parsed.output.total_pages : 1;
}
