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
  /** The application's own Ingress, which gets the path (`solvers[].http01.ingress.name`). */
  readonly existing?: string;
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
 * an Ingress for the challenge's host and path alone (its pkg/issuer/acme/http), made in this order. Where
 * an Issuer names an Ingress that there is, that gets the path instead.
 */
export class Solver {
  readonly challenge: Challenge;
  /** By `performance.now()`: when the Ingress was asked for. */
  readonly createdMs: number;
  readonly #undo: readonly (() => Promise<unknown>)[];

  private constructor(
    challenge: Challenge,
    createdMs: number,
    undo: readonly (() => Promise<unknown>)[],
  ) {
    this.challenge = challenge;
    this.createdMs = createdMs;
    this.#undo = undo;
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
      const created = `${path}/${metadata.name}`;
      return { name: metadata.name, undo: () => cluster.api.delete(created) };
    };
    const pod = await create(`${core}/pods`, podOf(challenge));
    const service = await create(`${core}/services`, serviceOf(challenge));
    const createdMs = performance.now();
    const { existing } = options;
    const ingress = existing
      ? await addPath(cluster, `${ingresses}/${existing}`, challenge, options, service.name)
      : await create(ingresses, ingressOf(challenge, options, service.name));
    return new Solver(challenge, createdMs, [pod.undo, service.undo, ingress.undo]);
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

  /** Undoes it; resolves once the server has nothing of it any more, but for a pod that still ends. */
  async cleanUp(): Promise<void> {
    for (const undo of this.#undo) await undo();
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
  const { classBy, className = 'causeway' } = options;
  const paths = [pathOf(challenge, options, service)];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: metadataOf(challenge, {
      'nginx.ingress.kubernetes.io/whitelist-source-range': '0.0.0.0/0,::/0',
      ...(classBy === 'annotation' && { 'kubernetes.io/ingress.class': className }),
    }),
    spec: {
      ...(classBy === 'field' && { ingressClassName: className }),
      rules: [{ host: challenge.domain, http: { paths } }],
    },
  };
}

function pathOf({ token }: Challenge, { pathType }: SolverOptions, service: string): IngressPath {
  const backend = { service: { name: service, port: { number: PORT } } };
  return { path: challengePath(token), pathType, backend };
}

interface IngressPath {
  readonly path: string;
  readonly pathType: string;
  readonly backend: object;
}

interface IngressObject extends KubernetesObject {
  readonly spec: {
    readonly rules: readonly {
      readonly host: string;
      readonly http: { readonly paths: readonly IngressPath[] };
    }[];
  };
}

/** Adds the path to the rule of the challenge's host, and takes away just that when it is undone. */
async function addPath(
  cluster: Cluster,
  ingress: string,
  challenge: Challenge,
  options: SolverOptions,
  service: string,
): Promise<{ readonly undo: () => Promise<unknown> }> {
  const added = pathOf(challenge, options, service);
  const rewrite = async (change: (paths: readonly IngressPath[]) => readonly IngressPath[]) => {
    // With its resourceVersion: whoever else changes it meanwhile is not overwritten.
    const current = await cluster.api.get<IngressObject>(ingress);
    const rules = current.spec.rules.map((rule) =>
      rule.host === challenge.domain ? { ...rule, http: { paths: change(rule.http.paths) } } : rule,
    );
    return cluster.api.put(ingress, { ...current, spec: { ...current.spec, rules } });
  };
  await rewrite((paths) => [...paths, added]);
  return { undo: () => rewrite((paths) => paths.filter(({ path }) => path !== added.path)) };
}
