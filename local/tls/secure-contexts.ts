import { hash } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { describeRef } from '../../syncer/kubernetes/objects.ts';
import type { ServerCertificate } from './default-certificate.ts';
import type { Presentation } from './server-names.ts';

/**
 * What OpenSSL needs for a handshake, made when the first handshake needs it: one host's renewal
 * costs the others nothing. Kept as long as it is used between one change and the next but one.
 */
export class SecureContexts {
  readonly #fallback: ServerCertificate;
  /** An authority that has issued nothing to anybody. */
  readonly #nobody: readonly string[];
  readonly #report: (message: string) => void;
  #recent = new Map<string, SecureContext | null>();
  #older = new Map<string, SecureContext | null>();

  /** @param report hears, in words without key bytes, of certificates that OpenSSL refuses */
  constructor(fallback: ServerCertificate, report: (message: string) => void) {
    this.#fallback = fallback;
    this.#nobody = [fallback.chain];
    this.#report = report;
  }

  /** Something has changed: what was not used since the change before is forgotten. */
  age(): void {
    this.#older = this.#recent;
    this.#recent = new Map();
  }

  /** With the first choice that OpenSSL takes, or else the default certificate. */
  for({ choices, policy }: Presentation): SecureContext {
    const authorities = this.#asked(policy);
    for (const certificates of choices) {
      const context = this.#together(certificates, authorities);
      if (context) return context;
    }
    return this.#kept(identity([], authorities), () =>
      createSecureContext(contextOptions([this.#fallback], authorities)),
    );
  }

  /** With the default certificate, for a server of Node, which wants no context but its options. */
  optionsFor({ policy }: Pick<Presentation, 'policy'>): SecureContextOptions {
    return contextOptions([this.#fallback], this.#asked(policy));
  }

  /**
   * The authorities whose certificates a client is asked for. A browser asks its user only where it
   * has one that fits.
   */
  #asked(policy: ClientCertificatePolicy | null): readonly string[] {
    if (policy && policy.authorities.length > 0) return policy.authorities;
    return policy?.verify === 'optional_no_ca' ? ANYBODY : this.#nobody;
  }

  /** All of them side by side: the client's signature algorithms decide. */
  #together(
    certificates: readonly Certificate[],
    authorities: readonly string[],
  ): SecureContext | null {
    const make = (shown: readonly Certificate[]) =>
      this.#kept(identity(shown, authorities), () => {
        try {
          return createSecureContext(contextOptions(shown, authorities));
        } catch (error) {
          if (shown.length === 1) this.#refused(shown, error);
          return null;
        }
      });
    const context = make(certificates);
    if (context || certificates.length < 2) return context;
    const usable = certificates.filter((it) => make([it]) !== null);
    return usable.length > 0 ? make(usable) : null;
  }

  #kept<T extends SecureContext | null>(key: string, make: () => T): T {
    const holder = [this.#recent, this.#older].find((it) => it.has(key));
    // A key stands for what it was made of, and so for what this would make.
    const context = holder ? (holder.get(key) as T) : make();
    this.#recent.set(key, context);
    return context;
  }

  #refused(certificates: readonly Certificate[], error: unknown): void {
    const names = certificates.map((it) => describeRef(it.secret)).join(', ');
    // Its message is not ours, and could quote what it was given.
    const { code } = error as { readonly code?: string };
    this.#report(`OpenSSL refuses the certificate of ${names}: ${code ?? 'no code'}`);
  }
}

const ANYBODY: readonly string[] = [];

function contextOptions(
  certificates: readonly ServerCertificate[],
  authorities: readonly string[],
): SecureContextOptions {
  return {
    cert: certificates.map((it) => it.chain),
    key: certificates.map((it) => it.privateKey.reveal()),
    minVersion: 'TLSv1.2',
    ca: [...authorities],
    // One that leads to an authority is verified, also if that is not a root.
    allowPartialTrustChain: true,
  };
}

const identities = new WeakMap<object, string>();

/** Equal for equal contents, which a file that is read again brings as other objects. */
function identity(certificates: readonly Certificate[], authorities: readonly string[]): string {
  const parts = certificates.map((it) => remembered(it, () => [it.chain]));
  return [...parts, remembered(authorities, () => authorities)].join(' ');
}

function remembered(object: object, texts: () => readonly string[]): string {
  const known = identities.get(object);
  if (known !== undefined) return known;
  const made = hash('sha256', texts().join('\n'));
  identities.set(object, made);
  return made;
}
