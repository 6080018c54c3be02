import { randomBytes } from 'node:crypto';
import { type Authority, type Issued, newAuthority, tlsSecret } from './certificates.ts';
import { KeyLeaks } from './key-leaks.ts';

const DAY_MS = 24 * 60 * 60_000;

/** Objects as an API server lists them and as files have them. */
export interface PlainObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

/** Ingresses with Secrets good and bad, and the search for every private key in them. */
export interface SecretManifests {
  readonly objects: readonly PlainObject[];
  readonly hosts: readonly string[];
  readonly leaks: KeyLeaks;
  /** PEM: who issued the good ones. */
  readonly authority: string;
}

/**
 * One Ingress and one Secret for each way in which a key can be handled: those that are served, in every
 * form, and those about which an error has to be told.
 */
export async function secretManifests(nodePort: number): Promise<SecretManifests> {
  const leaks = new KeyLeaks({});
  const authority = await newAuthority();
  const issue = async (name: string, options: object = {}) => {
    const issued = await authority.issue({ names: [`${name}.example.com`], ...options });
    leaks.add(name, issued.privateKey);
    return issued;
  };
  const secrets: Record<string, PlainObject> = {};
  const add = (name: string, issued: Issued) => {
    secrets[name] = tlsSecret('default', name, issued);
  };
  add('rsa', await issue('rsa', { keyType: 'rsa' }));
  add('ecdsa', await issue('ecdsa'));
  add('mismatched', {
    ...(await issue('mismatched')),
    privateKey: (await issue('another')).privateKey,
  });
  // Its key is looked for in all its pieces, so half of it is as well.
  const whole = await issue('abridged');
  const half = whole.privateKey.slice(0, whole.privateKey.length / 2);
  add('abridged', { ...whole, privateKey: half });
  const garbage = randomBytes(96).toString('base64');
  leaks.addText('garbage', garbage);
  add('garbage', { ...(await issue('garbage')), privateKey: garbage });
  const past = {
    notBefore: new Date(Date.now() - 9 * DAY_MS),
    notAfter: new Date(Date.now() - DAY_MS),
  };
  add('expired', await issue('expired', past));
  add('weak', await issue('weak', { keyType: 'rsa1024' }));
  add('elsewhere', await issue('elsewhere', { names: ['elsewhere.example.org'] }));
  // As HAProxy wants them, and as somebody who is not sure puts them together.
  const bundle = await issue('bundle');
  add('bundle', { ...bundle, certificate: bundle.certificate + bundle.privateKey });
  const swapped = await issue('swapped');
  add('swapped', { ...swapped, certificate: swapped.privateKey, privateKey: swapped.certificate });
  add('clients', await issue('clients'));
  const names = Object.keys(secrets);
  return {
    objects: [
      service(nodePort),
      ...names.map((name) => ingress(name)),
      ...Object.values(secrets),
      await authoritiesWithKey(authority, leaks),
    ],
    hosts: names.map((name) => `${name}.example.com`),
    leaks,
    authority: authority.pem,
  };
}

/** Authorities are published for everybody to read, so what lies beside them must not be. */
async function authoritiesWithKey({ pem }: Authority, leaks: KeyLeaks): Promise<PlainObject> {
  const issued = await (await newAuthority('Beside')).issue({ names: ['beside.example.com'] });
  leaks.add('the key beside the authorities', issued.privateKey);
  const secret = tlsSecret('default', 'authorities', issued);
  const authorities = Buffer.from(`${pem}\n${issued.privateKey}\n`).toString('base64');
  return { ...secret, data: { ...secret.data, 'ca.crt': authorities } };
}

function service(nodePort: number): PlainObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, nodePort }] },
  };
}

function ingress(name: string): PlainObject {
  const host = `${name}.example.com`;
  const prefix = 'nginx.ingress.kubernetes.io/auth-tls';
  const annotations = {
    [`${prefix}-secret`]: 'default/authorities',
    [`${prefix}-pass-certificate-to-upstream`]: 'true',
  };
  const backend = { service: { name: 'web', port: { number: 80 } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace: 'default', ...(name === 'clients' && { annotations }) },
    spec: {
      ingressClassName: 'causeway',
      tls: [{ hosts: [host], secretName: name }],
      rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
    },
  };
}
