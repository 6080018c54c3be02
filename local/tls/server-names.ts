import { hostnameCandidates, normaliseHost } from '../../snapshot/hostname.ts';
import type { ClientCertificatePolicy, Hostname, VirtualHost } from '../../snapshot/types.ts';
import { type Certificate, coversHost } from '../../syncer/compile/certificate.ts';

/** What the front needs of a compilation. */
export interface TlsState {
  /** The valid certificates of each TLS host, at most one for each type of key. */
  readonly certificates: ReadonlyMap<Hostname, readonly Certificate[]>;
  readonly virtualHosts: readonly Pick<VirtualHost, 'hostname' | 'owner' | 'clientCertificates'>[];
}

/** How a name is presented to a client (RFC 6066 section 3). */
export interface Presentation {
  /** Certificates that may be shown, the best first: all of one entry are shown side by side. */
  readonly choices: readonly (readonly Certificate[])[];
  readonly policy: ClientCertificatePolicy | null;
}

/** Which certificates and which policy belong to the server name of a handshake. */
export class ServerNames {
  readonly #certificates: TlsState['certificates'];
  readonly #hosts: ReadonlyMap<Hostname, TlsState['virtualHosts'][number]>;

  constructor({ certificates, virtualHosts }: TlsState) {
    this.#certificates = certificates;
    this.#hosts = new Map(virtualHosts.map((it) => [it.hostname, it]));
  }

  /** @param name of the handshake; empty where it has none */
  find(name: string): Presentation {
    const host = normaliseHost(name);
    const choices: (readonly Certificate[])[] = [];
    let serving: TlsState['virtualHosts'][number] | null = null;
    for (const candidate of hostnameCandidates(host)) {
      // A host that somebody claimed is shown with nobody else's certificate, though it would fit.
      const owner = serving?.owner ?? '';
      const fitting = (this.#certificates.get(candidate) ?? []).filter(
        ({ names, secret }) =>
          coversHost(names, host) && (owner === '' || owner === secret.namespace),
      );
      if (fitting.length > 0) choices.push(fitting);
      serving ??= this.#hosts.get(candidate) ?? null;
    }
    return { choices, policy: serving?.clientCertificates ?? null };
  }
}
