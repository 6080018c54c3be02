import { crc32 } from 'node:zlib';
import { ask } from './ask.ts';
import type { Cluster } from './cluster.ts';
import type { KubernetesObject } from './objects.ts';
import { SOLVER_CONTAINER } from './pod-sandbox.ts';
import { waitFor } from './wait.ts';

/** cert-manager's `acmeSolverListenPort`. */
const PORT = 8089;
const NAME = 'cm-acme-http-solver-';
const CHALLENGES = '/.well-known/acme-challenge';

/** A self check that hangs is one that failed. */
const SELF_CHECK_TIMEOUT_MS = 1_000;
const SELF_CHECK_INTERVAL_MS = 20;

/** What an Issuer says of its solvers, and what differs between cert-manager's versions. */
export interface SolverOptions {
  /** `Exact` since cert-manager 1.18, `ImplementationSpecific` before it or by its feature gate. */
  readonly pathType: 'Exact' | 'ImplementationSpecific';
  /** `solvers[].http01.ingress.class` becomes an annotation, `ingressClassName` the field. */
  readonly classBy: 'annotation' | 'field';
  /** Default `causeway`. */
  readonly className?: string;
}

export interface Challenge {
  readonly namespace: string;
  readonly domain: string;
  readonly token: string;
  /** The key authorization (RFC 8555 section 8.1): what the CA must read. */
  readonly key: string;
}

/**
 * The objects by which cert-manager answers one HTTP-01 challenge: a pod, a Service of type NodePort and
 * an Ingress for the challenge's host and path alone (its pkg/issuer/acme/http), made in this order.
 */
export class Solver {
  readonly challenge: Challenge;
  /** By `performance.now()`: when the Ingress was asked for. */
  readonly createdMs: number;
  readonly #cluster: Cluster;
  readonly #paths: readonly string[];

  private constructor(
    cluster: Cluster,
    challenge: Challenge,
    createdMs: number,
    paths: readonly string[],
  ) {
    this.#cluster = cluster;
    this.challenge = challenge;
    this.createdMs = createdMs;
    this.#paths = paths;
  }

  static async present(
    cluster: Cluster,
    challenge: Challenge,
    options: SolverOptions,
  ): Promise<Solver> {
    const core = `/api/v1/namespaces/${challenge.namespace}`;
    const ingresses = `/apis/networking.k8s.io/v1/namespaces/${challenge.namespace}/ingresses`;
    const create = async (path: string, manifest: object) => {
      const { metadata } = await cluster.api.post<KubernetesObject>(path, manifest);
      return metadata.name;
    };
    const pod = await create(`${core}/pods`, podOf(challenge));
    const service = await create(`${core}/services`, serviceOf(challenge));
    const createdMs = performance.now();
    const ingress = await create(ingresses, ingressOf(challenge, options, service));
    return new Solver(cluster, challenge, createdMs, [
      `${core}/pods/${pod}`,
      `${core}/services/${service}`,
      `${ingresses}/${ingress}`,
    ]);
  }

  get path(): string {
    return challengePath(this.challenge.token);
  }

  /**
   * cert-manager asks for the answer itself before it lets the CA do so. It tries every other second;
   * this tries at once again, to see when the first right answer comes.
   *
   * @returns the milliseconds from the creation of the Ingress to the right answer.
   */
  async selfCheck(port: number): Promise<number> {
    const { domain: host, key } = this.challenge;
    const question = { host, path: this.path, timeoutMs: SELF_CHECK_TIMEOUT_MS };
    let last = 'nothing';
    const isRight = async () => {
      const { status, text } = await ask(port, question);
      last = `${status} ${text}`;
      return status === 200 && text === key;
    };
    try {
      await waitFor('the self check', isRight, { intervalMs: SELF_CHECK_INTERVAL_MS });
    } catch (error) {
      throw new Error(`${error}; the last answer for ${host}${this.path}: ${last}`);
    }
    return performance.now() - this.createdMs;
  }

  /** Deletes the three; resolves once the server has them no more, but for a pod that still ends. */
  async cleanUp(): Promise<void> {
    for (const path of this.#paths) await this.#cluster.api.delete(path);
  }
}

export function challengePath(token: string): string {
  return `${CHALLENGES}/${token}`;
}

/** cert-manager has Adler-32 of both; what matters is that they are decimal numbers, all but unique. */
function labelsOf({ domain, token }: Challenge) {
  return {
    'acme.cert-manager.io/http-domain': String(crc32(domain)),
    'acme.cert-manager.io/http-token': String(crc32(token)),
    'acme.cert-manager.io/http01-solver': 'true',
  };
}

function metadataOf(challenge: Challenge, annotations: Readonly<Record<string, string>>) {
  const { namespace } = challenge;
  return { generateName: NAME, namespace, labels: labelsOf(challenge), annotations };
}

function podOf(challenge: Challenge): object {
  const { domain, token, key } = challenge;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadataOf(challenge, {
      'sidecar.istio.io/inject': 'false',
      'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
    }),
    spec: {
      restartPolicy: 'OnFailure',
      containers: [
        {
          name: SOLVER_CONTAINER,
          image: 'quay.io/jetstack/cert-manager-acmesolver',
          args: [`--listen-port=${PORT}`, `--domain=${domain}`, `--token=${token}`, `--key=${key}`],
          ports: [{ name: 'http', containerPort: PORT, protocol: 'TCP' }],
        },
      ],
    },
  };
}

function serviceOf(challenge: Challenge): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadataOf(challenge, { 'auth.istio.io/8089': 'NONE' }),
    spec: {
      type: 'NodePort',
      ports: [{ name: 'http', port: PORT, targetPort: PORT, protocol: 'TCP' }],
      selector: labelsOf(challenge),
    },
  };
}

function ingressOf(challenge: Challenge, options: SolverOptions, service: string): object {
  const { pathType, classBy, className = 'causeway' } = options;
  const path = challengePath(challenge.token);
  const backend = { service: { name: service, port: { number: PORT } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: metadataOf(challenge, {
      'nginx.ingress.kubernetes.io/whitelist-source-range': '0.0.0.0/0,::/0',
      ...(classBy === 'annotation' && { 'kubernetes.io/ingress.class': className }),
    }),
    spec: {
      ...(classBy === 'field' && { ingressClassName: className }),
      rules: [{ host: challenge.domain, http: { paths: [{ path, pathType, backend }] } }],
    },
  };
}
