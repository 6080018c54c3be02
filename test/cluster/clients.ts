import type { Authority } from '../support/certificates.ts';
import type { Manifest } from './manifests.ts';

/** Who comes with a certificate: both in PEM. */
export interface Client {
  readonly cert: string;
  readonly key: string;
}

export async function clientOf(issuer: Authority): Promise<Client> {
  const issued = await issuer.issue({ names: [], commonName: 'a client', client: true });
  return { cert: issued.certificate, key: issued.privateKey };
}

/** What `auth-tls-secret: default/clients` names: whose clients are let in. */
export function authoritiesSecret({ pem }: Authority): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'clients', namespace: 'default' },
    data: { 'ca.crt': Buffer.from(pem).toString('base64') },
  };
}
