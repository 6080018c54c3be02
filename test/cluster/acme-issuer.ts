import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Agent } from 'node:https';
import acme from 'acme-client';
import type { Cluster } from './cluster.ts';
import { applyAll, type Manifest } from './manifests.ts';
import type { KubernetesObject } from './objects.ts';
import type { Pebble } from './pebble.ts';
import { Solver, type SolverOptions } from './solver.ts';

type Authorization = Awaited<ReturnType<acme.Client['getAuthorizations']>>[number];

export interface CertificateRequest {
  readonly namespace: string;
  readonly secretName: string;
  readonly names: readonly string[];
  /** The kinds of key that a Certificate can ask for, in cert-manager's default encodings. */
  readonly keyType: 'rsa' | 'ecdsa';
  readonly solver: SolverOptions;
}

/** What a Secret gets, in PEM. */
export interface KeyAndChain {
  readonly privateKey: string;
  readonly certificate: string;
}

/** cert-manager's part: it orders, answers the challenges through the cluster and writes the Secret. */
export class CertManager {
  /** Every private key that it has made, by what it is for. */
  readonly keys: Record<string, string> = {};
  readonly #cluster: Cluster;
  readonly #client: acme.Client;
  readonly #httpPort: number;

  private constructor(cluster: Cluster, client: acme.Client, httpPort: number) {
    this.#cluster = cluster;
    this.#client = client;
    this.#httpPort = httpPort;
  }

  /** With an account of its own. @param httpPort where the edge answers challenges. */
  static async start(cluster: Cluster, pebble: Pebble, httpPort: number): Promise<CertManager> {
    acme.axios.defaults.httpsAgent = new Agent({ ca: pebble.certificateAuthority });
    const accountKey = pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'pkcs8');
    const client = new acme.Client({
      directoryUrl: pebble.directoryUrl,
      accountKey,
      backoffAttempts: 100,
      backoffMin: 50,
      backoffMax: 500,
    });
    await client.createAccount({ termsOfServiceAgreed: true, contact: ['mailto:a@example.com'] });
    const certManager = new CertManager(cluster, client, httpPort);
    certManager.keys['the ACME account'] = accountKey;
    return certManager;
  }

  /**
   * Orders a certificate and answers its challenges (RFC 8555 section 7.4). While it does, the new key
   * lies in a Secret of its own that no Ingress names, as cert-manager's does.
   *
   * @param whileSolved runs when all challenges are answered by the edge, before the CA looks.
   */
  async obtain(
    request: CertificateRequest,
    whileSolved: (solvers: readonly Solver[]) => Promise<void> = async () => {},
  ): Promise<KeyAndChain> {
    const privateKey = newKey(request.keyType);
    this.keys[`${request.secretName}, ${Object.keys(this.keys).length}`] = privateKey.own;
    const nextKey = await this.#keepNextKey(request, privateKey.own);
    const identifiers = request.names.map((value) => ({ type: 'dns', value }));
    const order = await this.#client.createOrder({ identifiers });
    const authorizations = await this.#client.getAuthorizations(order);
    const solvers = await Promise.all(authorizations.map((it) => this.#present(it, request)));
    try {
      await Promise.all(solvers.map((it) => it.selfCheck(this.#httpPort)));
      await whileSolved(solvers);
      await Promise.all(authorizations.map((it) => this.#accept(it)));
    } finally {
      await Promise.all(solvers.map((it) => it.cleanUp()));
    }
    const altNames = [...request.names];
    const [, csr] = await acme.crypto.createCsr({ altNames }, privateKey.pkcs8);
    await this.#client.finalizeOrder(order, csr);
    const certificate = await this.#client.getCertificate(order);
    await this.#cluster.api.delete(nextKey);
    return { privateKey: privateKey.own, certificate };
  }

  /** Writes the Secret, new or in place of what it has. */
  async write(
    { namespace, secretName, names }: CertificateRequest,
    { privateKey, certificate }: KeyAndChain,
  ): Promise<void> {
    const annotations = {
      'cert-manager.io/alt-names': names.join(','),
      'cert-manager.io/certificate-name': secretName,
      'cert-manager.io/common-name': '',
      'cert-manager.io/ip-sans': '',
      'cert-manager.io/issuer-group': '',
      'cert-manager.io/issuer-kind': 'ClusterIssuer',
      'cert-manager.io/issuer-name': 'letsencrypt',
      'cert-manager.io/uri-sans': '',
    };
    const labels = { 'controller.cert-manager.io/fao': 'true' };
    const secret: Manifest = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace, name: secretName, labels, annotations },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(certificate), 'tls.key': base64(privateKey) },
    };
    await applyAll(this.#cluster, secret);
  }

  /** Returns the path of the Secret. */
  async #keepNextKey(
    { namespace, secretName }: CertificateRequest,
    privateKey: string,
  ): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/secrets`;
    const { metadata } = await this.#cluster.api.post<KubernetesObject>(path, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        generateName: `${secretName}-`,
        labels: { 'cert-manager.io/next-private-key': 'true' },
      },
      type: 'Opaque',
      data: { 'tls.key': base64(privateKey) },
    });
    return `${path}/${metadata.name}`;
  }

  async #present(authorization: Authorization, request: CertificateRequest): Promise<Solver> {
    const challenge = http01Of(authorization);
    const key = await this.#client.getChallengeKeyAuthorization(challenge);
    const { namespace, solver } = request;
    const domain = authorization.identifier.value;
    return Solver.present(
      this.#cluster,
      { namespace, domain, token: challenge.token, key },
      solver,
    );
  }

  async #accept(authorization: Authorization): Promise<void> {
    const challenge = http01Of(authorization);
    await this.#client.completeChallenge(challenge);
    await this.#client.waitForValidStatus(challenge);
  }
}

function http01Of({ challenges, identifier }: Authorization) {
  const found = challenges.find(({ type }) => type === 'http-01');
  if (!found) throw new Error(`the CA offers no HTTP-01 challenge for ${identifier.value}`);
  return found;
}

/** @returns the key in the encoding of its own kind, which is cert-manager's default, and in PKCS #8. */
function newKey(keyType: 'rsa' | 'ecdsa') {
  if (keyType === 'rsa') {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { own: pem(privateKey, 'pkcs1'), pkcs8: pem(privateKey, 'pkcs8') };
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { own: pem(privateKey, 'sec1'), pkcs8: pem(privateKey, 'pkcs8') };
}

function pem(key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1'): string {
  return key.export({ format: 'pem', type } as { format: 'pem'; type: 'pkcs8' }).toString();
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
