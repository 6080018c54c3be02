import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubernetesApi } from './api.ts';
import { auditFlags } from './audit.ts';
import { EDGE_ADDRESS } from './edge.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import type { Processes, RunningProcess } from './processes.ts';
import { GiveUp, waitFor } from './wait.ts';

/** Services get their ClusterIP from here. */
export const SERVICE_RANGE = '10.96.0.0/16';

const ETCD_URL = 'http://127.0.0.1:2379';
const SECURE_PORT = 6443;
const START_TIMEOUT_MS = 60_000;

// No node-lifecycle controller: without kubelets it would take every node for dead.
const controllers = [
  'deployment',
  'endpoint',
  'endpointslice',
  'endpointslicemirroring',
  'garbagecollector',
  'namespace',
  'replicaset',
  'serviceaccount',
];

/** The server's token file: name, uid and groups. RBAC knows kube-proxy by its name. */
const users = {
  admin: 'admin,admin,system:masters',
  controllerManager: 'system:kube-controller-manager,controller-manager,system:masters',
  proxy: 'system:kube-proxy,kube-proxy',
};

/** etcd, kube-apiserver and kube-controller-manager, in the namespace where this process runs. */
export class ControlPlane {
  readonly server = `https://${EDGE_ADDRESS}:${SECURE_PORT}`;
  readonly adminKubeconfig: string;
  readonly proxyKubeconfig: string;
  readonly #dir: string;
  readonly #binaries: string;
  readonly #processes: Processes;
  readonly #tokens = {
    admin: randomBytes(16).toString('hex'),
    controllerManager: randomBytes(16).toString('hex'),
    proxy: randomBytes(16).toString('hex'),
  };
  #apiServer: RunningProcess | undefined;
  #api: KubernetesApi | undefined;

  /** @param dir an existing folder for keys, certificates and etcd's data. */
  constructor(dir: string, binaries: string, processes: Processes) {
    this.#dir = dir;
    this.#binaries = binaries;
    this.#processes = processes;
    this.adminKubeconfig = join(dir, 'admin.kubeconfig');
    this.proxyKubeconfig = join(dir, 'kube-proxy.kubeconfig');
  }

  /** Starts everything and waits until the server is ready and the controllers have done their first work. */
  async start(): Promise<void> {
    this.#writeKeys();
    await this.#startEtcd();
    await this.startApiServer();
    this.#writeKubeconfigs();
    await this.#startControllerManager();
  }

  /** The server as admin. */
  get api(): KubernetesApi {
    if (!this.#api) throw new Error('the API server was never started');
    return this.#api;
  }

  /** The server's own, in PEM. It stays the same when the server is started again. */
  get certificateAuthority(): string {
    return readFileSync(join(this.#dir, 'apiserver.crt'), 'utf8');
  }

  /** Ends the API server as a crash would, with SIGKILL, and waits until it has ended. */
  async killApiServer(): Promise<void> {
    this.#apiServer?.signal('SIGKILL');
    await this.#apiServer?.exited;
    // Connections that were open are broken: the next call must not find one of them.
    this.#api?.close();
  }

  /** Starts the API server (again) and waits until it is ready. Throws with the end of its log. */
  async startApiServer(): Promise<void> {
    if (this.#apiServer?.isRunning()) throw new Error('the API server is running');
    this.#apiServer = this.#processes.start({
      name: 'kube-apiserver',
      argv: [join(this.#binaries, 'kube-apiserver'), ...this.#apiServerFlags()],
    });
    const certificate = join(this.#dir, 'apiserver.crt');
    await this.#until('the API server', this.#apiServer, async () => {
      if (!existsSync(certificate)) return false;
      const { server, certificateAuthority } = this;
      const api = this.#api ?? new KubernetesApi(server, certificateAuthority, this.#tokens.admin);
      const isReady = await api.isReady();
      // Kept only once it works: the server may have been in the middle of writing its certificate.
      if (isReady) this.#api = api;
      return isReady;
    });
  }

  async #startEtcd(): Promise<void> {
    const etcd = this.#processes.start({
      name: 'etcd',
      argv: [
        join(this.#binaries, 'etcd'),
        `--data-dir=${join(this.#dir, 'etcd')}`,
        `--listen-client-urls=${ETCD_URL}`,
        `--advertise-client-urls=${ETCD_URL}`,
        '--listen-peer-urls=http://127.0.0.1:2380',
      ],
    });
    await this.#until('etcd', etcd, async () => (await fetch(`${ETCD_URL}/health`)).ok);
  }

  async #startControllerManager(): Promise<void> {
    const manager = this.#processes.start({
      name: 'kube-controller-manager',
      argv: [
        join(this.#binaries, 'kube-controller-manager'),
        `--kubeconfig=${join(this.#dir, 'kube-controller-manager.kubeconfig')}`,
        `--controllers=${controllers.join(',')}`,
        '--leader-elect=false',
        '--bind-address=127.0.0.1',
        `--service-account-private-key-file=${join(this.#dir, 'service-account.key')}`,
      ],
    });
    const first = '/api/v1/namespaces/default/serviceaccounts/default';
    await this.#until('the controllers', manager, () => this.api.get(first));
  }

  #apiServerFlags(): string[] {
    return [
      `--etcd-servers=${ETCD_URL}`,
      `--cert-dir=${this.#dir}`,
      '--bind-address=0.0.0.0',
      `--advertise-address=${EDGE_ADDRESS}`,
      `--secure-port=${SECURE_PORT}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${join(this.#dir, 'service-account.pub')}`,
      `--service-account-signing-key-file=${join(this.#dir, 'service-account.key')}`,
      `--token-auth-file=${join(this.#dir, 'tokens.csv')}`,
      '--authorization-mode=RBAC',
      `--service-cluster-ip-range=${SERVICE_RANGE}`,
      // It would refuse pods until their namespace's service account exists.
      '--disable-admission-plugins=ServiceAccount',
      ...auditFlags(this.#dir),
    ];
  }

  #writeKeys(): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    const pair = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    const { admin, controllerManager, proxy } = this.#tokens;
    const tokens = [
      `${admin},${users.admin}`,
      `${controllerManager},${users.controllerManager}`,
      `${proxy},${users.proxy}`,
    ];
    const secret = { mode: 0o600 };
    writeFileSync(join(this.#dir, 'service-account.key'), pair.privateKey, secret);
    writeFileSync(join(this.#dir, 'service-account.pub'), pair.publicKey);
    writeFileSync(join(this.#dir, 'tokens.csv'), `${tokens.join('\n')}\n`, secret);
  }

  #writeKubeconfigs(): void {
    const { server, certificateAuthority } = this;
    const write = (file: string, token: string) =>
      writeKubeconfig(file, { server, certificateAuthority, token });
    write(this.adminKubeconfig, this.#tokens.admin);
    write(this.proxyKubeconfig, this.#tokens.proxy);
    const manager = join(this.#dir, 'kube-controller-manager.kubeconfig');
    write(manager, this.#tokens.controllerManager);
  }

  // A process that has ended will not get ready: say so at once, with the end of its log.
  async #until(what: string, process: RunningProcess, isReady: () => unknown): Promise<void> {
    const probe = async () => {
      if (!process.isRunning()) throw new GiveUp(`${what} ended:\n${process.logTail()}`);
      return isReady();
    };
    await waitFor(`${what} (its log: ${process.logFile})`, probe, { timeoutMs: START_TIMEOUT_MS });
  }
}
