import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { ClusterState } from '../cluster-state.ts';
import type { Ingress, Secret } from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { quoted } from '../quoted.ts';
import type { Problems } from './problems.ts';

/** A certificate an Ingress asks for, as far as people need to see it. The key stops here. */
export interface TlsClaim {
  readonly ingress: Ingress;
  readonly hosts: readonly string[];
  readonly secretName: string;
  readonly certificate: CertificateSummary | null;
}

export interface CertificateSummary {
  readonly subject: string;
  /** `DNS:` names of the subject alternative name. */
  readonly names: readonly string[];
  /** As the certificate writes it, e.g. `Nov 22 12:00:00 2027 GMT`. */
  readonly notAfter: string;
}

/** Reads the certificates that `spec.tls` names and reports those that cannot be used. */
export function tlsClaims(
  ingresses: readonly Ingress[],
  { secrets }: Pick<ClusterState, 'secrets'>,
  problems: Problems,
): readonly TlsClaim[] {
  const byName = new Map(secrets.map((it) => [`${it.namespace}/${it.name}`, it]));
  return ingresses.flatMap((ingress) =>
    ingress.tls.flatMap(({ hosts, secretName }, index): TlsClaim[] => {
      if (secretName === '') return [];
      const secret = byName.get(`${ingress.namespace}/${secretName}`);
      const field = `spec.tls[${index}].secretName`;
      if (!secret) {
        problems.add(
          refOf(ingress),
          'SecretNotFound',
          `${field}: there is no Secret ${ingress.namespace}/${secretName}`,
        );
        return [{ ingress, hosts, secretName, certificate: null }];
      }
      const certificate = certificateOf(secret);
      if (typeof certificate !== 'string') return [{ ingress, hosts, secretName, certificate }];
      problems.add(refOf(secret), 'SecretInvalid', certificate);
      return [{ ingress, hosts, secretName, certificate: null }];
    }),
  );
}

/** Reading a key takes a third of a millisecond, and one Secret may serve a thousand Ingresses. */
const read = new WeakMap<Secret, CertificateSummary | string>();

function certificateOf(secret: Secret): CertificateSummary | string {
  const known = read.get(secret);
  if (known !== undefined) return known;
  const certificate = readCertificate(secret);
  read.set(secret, certificate);
  return certificate;
}

/** What is wrong, as text, when there is no certificate with a matching key. */
function readCertificate(secret: Secret): CertificateSummary | string {
  if (secret.type !== 'kubernetes.io/tls') {
    return `type is ${quoted(secret.type)}; Ingress needs a Secret of type kubernetes.io/tls`;
  }
  if (secret.certificate === '') return 'data has no tls.crt';
  if (secret.privateKey.isEmpty) return 'data has no tls.key';
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(secret.certificate);
  } catch {
    return 'tls.crt is not a PEM certificate';
  }
  try {
    const key = createPrivateKey(secret.privateKey.reveal());
    if (!certificate.checkPrivateKey(key)) return 'tls.key does not belong to tls.crt';
  } catch {
    // The cause could quote the key.
    return 'tls.key is not a PEM private key';
  }
  return {
    subject: certificate.subject,
    names: (certificate.subjectAltName ?? '')
      .split(', ')
      .flatMap((name) => (name.startsWith('DNS:') ? [name.slice(4)] : [])),
    notAfter: certificate.validTo,
  };
}
