import { writeFileSync } from 'node:fs';

export interface KubeconfigSpec {
  /** `https://address:port` */
  server: string;
  /** In PEM. */
  certificateAuthority: string;
  /** A bearer token. */
  token: string;
  /** The namespace of commands that name none. Default `default`. */
  namespace?: string;
}

/** Writes a kubeconfig with one cluster, one user and one context, readable by its owner only. */
export function writeKubeconfig(file: string, spec: KubeconfigSpec): void {
  const { server, certificateAuthority, token, namespace = 'default' } = spec;
  const ca = Buffer.from(certificateAuthority).toString('base64');
  const name = 'test';
  // JSON is YAML.
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace } }],
    'current-context': name,
  };
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}
