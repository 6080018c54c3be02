import type { ClientCertificatePolicy } from '../../snapshot/types.ts';
import type { Ingress, Secret } from '../kubernetes/objects.ts';
import { refOf } from '../kubernetes/objects.ts';
import { authTlsSecretOf } from '../kubernetes/references.ts';
import { quoted } from '../quoted.ts';
import { annotationField, type IngressAnnotations } from './annotations.ts';
import { certificatesIn } from './certificate.ts';
import type { Problems } from './problems.ts';

const FIELD = annotationField('authTlsSecret');
const DEPTH_MAX = 1;

/**
 * Which clients an Ingress lets to its hosts, by its `auth-tls-` annotations; `null` without. What is
 * asked for and cannot be had lets nobody in: a mistake must not open a door.
 */
export function clientCertificatePolicy(
  ingress: Ingress,
  annotations: IngressAnnotations,
  secrets: ReadonlyMap<string, Secret>,
  problems: Problems,
): ClientCertificatePolicy | null {
  const { authTlsSecret, authTlsVerifyClient: verify = 'on', authTlsMatchCn } = annotations;
  if (authTlsSecret === undefined || verify === 'off') return null;
  const authorities = authoritiesOf(ingress, authTlsSecret, secrets, problems);
  const depthMax = annotations.authTlsVerifyDepth ?? DEPTH_MAX;
  if (authTlsMatchCn === null) return { verify: 'on', authorities: [], depthMax };
  return {
    verify,
    authorities,
    depthMax,
    ...(authTlsMatchCn && { commonName: authTlsMatchCn }),
    ...(annotations.authTlsPassCertificateToUpstream && { passToUpstream: true }),
  };
}

function authoritiesOf(
  ingress: Ingress,
  text: string,
  secrets: ReadonlyMap<string, Secret>,
  problems: Problems,
): readonly string[] {
  const report = (reason: 'AnnotationInvalid' | 'SecretInvalid' | 'SecretNotFound', what: string) =>
    problems.add(refOf(ingress), reason, `${FIELD}: ${what}`);
  const nobody = "until there is one, nobody's certificate can be verified";
  const named = authTlsSecretOf(ingress);
  if (!named) {
    const own = `a Secret of the Ingress's own namespace, as ${ingress.namespace}/name`;
    report('AnnotationInvalid', `${quoted(text)} is not ${own}; ${nobody}`);
    return [];
  }
  const name = `${named.namespace}/${named.name}`;
  const secret = secrets.get(name);
  if (!secret) {
    report('SecretNotFound', `there is no Secret ${name}; ${nobody}`);
    return [];
  }
  const found = secret.authorities === '' ? null : certificatesIn(secret.authorities);
  if (!found) {
    const what = secret.authorities === '' ? 'has no ca.crt' : 'has a ca.crt that is not PEM';
    report('SecretInvalid', `Secret ${name} ${what}; ${nobody}`);
    return [];
  }
  if (secret.hasRevocationList) {
    const what = `Secret ${name} has a ca.crl, which is not looked at`;
    report('SecretInvalid', `${what}: certificates that it revokes are let in`);
  }
  return [...new Set(found.map((it) => it.toString()))];
}
