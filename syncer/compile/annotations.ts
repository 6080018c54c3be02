import { RE2JS } from 're2js';
import type { Ingress } from '../kubernetes/objects.ts';
import { NGINX_ANNOTATIONS, refOf } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import type { Problems } from './problems.ts';

/** What an Ingress says in annotations; what it leaves out is up to the options. */
export interface IngressAnnotations {
  readonly sslRedirect?: boolean;
  readonly forceSslRedirect?: boolean;
  readonly hsts?: boolean;
  /** Seconds. */
  readonly hstsMaxAge?: number;
  readonly hstsIncludeSubdomains?: boolean;
  readonly hstsPreload?: boolean;
  /** As written: `namespace/name`, or a name in the Ingress's own namespace. */
  readonly authTlsSecret?: string;
  readonly authTlsVerifyClient?: (typeof VERIFY_CLIENT)[number];
  readonly authTlsVerifyDepth?: number;
  readonly authTlsPassCertificateToUpstream?: boolean;
  /** The pattern after `CN=`; `null` for one that cannot be used, which nobody matches. */
  readonly authTlsMatchCn?: string | null;
}

const VERIFY_CLIENT = ['on', 'off', 'optional', 'optional_no_ca'] as const;

interface Row<K extends keyof IngressAnnotations> {
  readonly name: string;
  /** Throws an Error that says what is wrong. */
  readonly parse: (text: string) => NonNullable<IngressAnnotations[K]>;
  /** What holds instead of a value that cannot be understood: never less protection than asked for. */
  readonly otherwise: string;
}

const OPTION_APPLIES = 'the option of the controller applies';
const STRICTEST = 'clients need a verified certificate';

const ROWS: { readonly [K in keyof IngressAnnotations]-?: Row<K> } = {
  sslRedirect: { name: 'ssl-redirect', parse: flag, otherwise: OPTION_APPLIES },
  forceSslRedirect: { name: 'force-ssl-redirect', parse: flag, otherwise: OPTION_APPLIES },
  hsts: { name: 'hsts', parse: flag, otherwise: OPTION_APPLIES },
  hstsMaxAge: { name: 'hsts-max-age', parse: wholeNumber, otherwise: OPTION_APPLIES },
  hstsIncludeSubdomains: {
    name: 'hsts-include-subdomains',
    parse: flag,
    otherwise: OPTION_APPLIES,
  },
  hstsPreload: { name: 'hsts-preload', parse: flag, otherwise: OPTION_APPLIES },
  authTlsSecret: { name: 'auth-tls-secret', parse: String, otherwise: '' },
  authTlsVerifyClient: {
    name: 'auth-tls-verify-client',
    parse: verifyClient,
    otherwise: STRICTEST,
  },
  authTlsVerifyDepth: {
    name: 'auth-tls-verify-depth',
    parse: wholeNumber,
    otherwise: 'it is 1',
  },
  authTlsPassCertificateToUpstream: {
    name: 'auth-tls-pass-certificate-to-upstream',
    parse: flag,
    otherwise: 'the certificate is not passed on',
  },
  authTlsMatchCn: {
    name: 'auth-tls-match-cn',
    parse: commonName,
    otherwise: 'nobody is let in until it is mended or removed',
  },
};

/** Where an annotation of this name stands, as messages name it. */
export function annotationField(key: keyof IngressAnnotations): string {
  return `metadata.annotations[${NGINX_ANNOTATIONS}${ROWS[key].name}]`;
}

export function annotationsOf(ingress: Ingress, problems: Problems): IngressAnnotations {
  const found: Record<string, unknown> = {};
  for (const key of Object.keys(ROWS) as (keyof IngressAnnotations)[]) {
    const { name, parse, otherwise } = ROWS[key];
    const text = ingress.annotations[NGINX_ANNOTATIONS + name]?.trim();
    if (!text) continue;
    try {
      found[key] = parse(text);
    } catch (error) {
      if (key === 'authTlsMatchCn') found[key] = null;
      const why = error instanceof Error ? error.message : String(error);
      const message = `${annotationField(key)}: ${quoted(text)} ${why}; ${otherwise}`;
      problems.add(refOf(ingress), 'AnnotationInvalid', message);
    }
  }
  return found;
}

/** Whether only clients with certificates are to get to the Ingress. */
export function asksForClients(annotations: IngressAnnotations): boolean {
  const { authTlsSecret, authTlsVerifyClient } = annotations;
  return authTlsSecret !== undefined && authTlsVerifyClient !== 'off';
}

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

/** As Go's `strconv.ParseBool`, which ingress-nginx reads them with. */
function flag(text: string): boolean {
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  throw new Error('is neither true nor false');
}

function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new Error('is not a whole number');
  return Number(text);
}

function verifyClient(text: string): (typeof VERIFY_CLIENT)[number] {
  const found = VERIFY_CLIENT.find((it) => it === text);
  if (!found) throw new Error(`is none of ${VERIFY_CLIENT.join(', ')}`);
  return found;
}

/** RE2 takes time that grows with the text and no faster: isolates belong to all tenants. */
function commonName(text: string): string {
  const [, pattern] = /^CN=(.+)$/.exec(text) ?? [];
  if (pattern === undefined) throw new Error('does not begin with CN=');
  try {
    RE2JS.compile(pattern);
  } catch {
    throw new Error('is no pattern of RE2, which has neither look-around nor back-references');
  }
  return pattern;
}
