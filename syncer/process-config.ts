import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** How one process of several takes its place among them. */
export interface ProcessConfig {
  /** `null` publishes without asking anybody. */
  readonly election: ElectionConfig | null;
  readonly probes: { readonly host: string; readonly port: number };
}

export interface ElectionConfig {
  readonly namespace: string;
  readonly lease: string;
  /** Of this process and no other, also not of the same pod after a restart. */
  readonly identity: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const PROBE_PORT = 8081;
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';
/** RFC 1123 subdomain, as Kubernetes has it for names. */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * @param mistakes gets a sentence for every setting that is missing or cannot be understood
 * @param podNamespace the namespace of the pod that this runs in, or `null` outside
 */
export function readProcessConfig(
  env: Environment,
  cluster: string,
  mistakes: string[],
  podNamespace: () => string | null = readPodNamespace,
): ProcessConfig {
  const port = Number(env.CAUSEWAY_PROBE_PORT || PROBE_PORT);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    mistakes.push(`CAUSEWAY_PROBE_PORT: "${env.CAUSEWAY_PROBE_PORT}" is no port`);
  }
  const probes = { host: env.CAUSEWAY_PROBE_HOST || '0.0.0.0', port };
  const wanted = env.CAUSEWAY_LEADER_ELECTION || 'true';
  if (wanted !== 'true' && wanted !== 'false') {
    mistakes.push(`CAUSEWAY_LEADER_ELECTION: "${wanted}" is none of true, false`);
  }
  if (wanted === 'false') return { election: null, probes };
  const namespace = env.CAUSEWAY_LEASE_NAMESPACE || env.POD_NAMESPACE || podNamespace();
  if (!namespace) {
    mistakes.push(
      'CAUSEWAY_LEASE_NAMESPACE is not set (where the Lease of the leader is kept; outside a pod it has no default)',
    );
  }
  const lease = env.CAUSEWAY_LEASE_NAME || leaseName(cluster);
  if (!NAME.test(lease)) mistakes.push(`CAUSEWAY_LEASE_NAME: "${lease}" is no name of an object`);
  const identity = `${env.POD_NAME || hostname()}_${randomUUID()}`;
  return { election: { namespace: namespace ?? '', lease, identity }, probes };
}

/** `causeway-` and the cluster, with a hash where Kubernetes would not take its name as it is. */
function leaseName(cluster: string): string {
  const plain = `causeway-${cluster}`;
  if (NAME.test(plain)) return plain;
  const hash = createHash('sha256').update(cluster).digest('hex').slice(0, 8);
  const readable = cluster
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 200);
  return `causeway-${readable}-${hash}`;
}

function readPodNamespace(): string | null {
  try {
    return readFileSync(NAMESPACE_FILE, 'utf8').trim();
  } catch {
    return null;
  }
}
