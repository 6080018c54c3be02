import type { Hostname } from '../../../snapshot/types.ts';
import { type Certificate, certificateOf } from '../../../syncer/compile/certificate.ts';
import { decodeObject } from '../../../syncer/kubernetes/decode.ts';
import { type Issued, tlsSecret } from '../../support/certificates.ts';

/** What the syncer makes of a Secret with this certificate. */
export function servedCertificate(issued: Issued, namespace = 'test', name = 'tls'): Certificate {
  const decoded = decodeObject(tlsSecret(namespace, name, issued));
  const [secret] = decoded.ok ? decoded.objects : [];
  if (secret?.kind !== 'Secret') throw new Error('not a Secret');
  const certificate = certificateOf(secret);
  if (typeof certificate === 'string') throw new Error(certificate);
  return certificate;
}

/** The certificates of hosts, and the hosts with their owner. */
export function tlsState(
  certificates: Readonly<Record<Hostname, readonly Certificate[]>>,
  owners: Readonly<Record<Hostname, string>> = {},
) {
  return {
    certificates: new Map(Object.entries(certificates)),
    virtualHosts: Object.entries(owners).map(([hostname, owner]) => ({ hostname, owner })),
  };
}
