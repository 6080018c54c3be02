import {
  currentEdge,
  destroyNamespace,
  EDGE_ADDRESS,
  type Edge,
  inNamespace,
  ip,
  sysctls,
} from './edge.ts';

/** A machine of the test network: the edge, a node, or a host outside the Kubernetes cluster. */
export interface Host {
  readonly name: string;
  /** Its address on the bridge, or the edge's own. */
  readonly address: string;
}

/** The hosts on the edge's bridge, one network namespace each. No traffic leaves these namespaces. */
export class Network {
  readonly edge: Host = { name: 'edge', address: EDGE_ADDRESS };
  readonly #edge: Edge;
  readonly #hosts = new Map<string, Host>();

  /** Throws when this process does not run inside an edge. */
  constructor() {
    this.#edge = currentEdge();
  }

  /**
   * Connects a new host to the bridge, with the edge as its default route.
   * @param name up to 15 letters and digits; the name of its interface on the edge's side.
   * @param address within 10.0.0.0/24.
   */
  addHost(name: string, address: string): Host {
    const namespace = this.namespace(name);
    ip(['netns', 'add', namespace]);
    const host = { name, address };
    this.#hosts.set(name, host);
    sysctls(namespace, [
      'net.ipv4.ip_forward=1',
      // kube-proxy answers node ports on 127.0.0.1 too, and routes packets asymmetrically.
      'net.ipv4.conf.all.route_localnet=1',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
      // kube-proxy refuses connections by ICMP; those that the limit holds back cost their client a second.
      'net.ipv4.icmp_ratelimit=0',
    ]);
    ip(['-netns', namespace, 'link', 'set', 'lo', 'up']);
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace];
    ip(['-netns', this.namespace('edge'), 'link', 'add', name, ...peer]);
    ip(['-netns', this.namespace('edge'), 'link', 'set', name, 'master', 'br0', 'up']);
    ip(['-netns', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0']);
    ip(['-netns', namespace, 'link', 'set', 'eth0', 'up']);
    ip(['-netns', namespace, 'route', 'add', 'default', 'via', EDGE_ADDRESS]);
    return host;
  }

  /** Ends the host's processes and removes it, with its end of the wire and the routes through it. */
  removeHost(name: string): void {
    const host = this.host(name);
    this.#hosts.delete(name);
    // Both at once, not when the kernel gets to it: the next host may want the name and the routes.
    ip(['-netns', this.namespace('edge'), 'route', 'flush', 'via', host.address]);
    ip(['-netns', this.namespace('edge'), 'link', 'delete', name]);
    destroyNamespace(this.namespace(name));
  }

  hasHost(name: string): boolean {
    return this.#hosts.has(name);
  }

  /** Throws when there is no such host. */
  host(name: string): Host {
    const host = name === this.edge.name ? this.edge : this.#hosts.get(name);
    if (!host) throw new Error(`the network has no host ${name}`);
    return host;
  }

  /** Removes all hosts. The edge stays: this process runs in it. Awaits nothing. */
  removeAllHosts(): void {
    for (const name of [...this.#hosts.keys()]) this.removeHost(name);
  }

  /** Routes a range through a host: all hosts reach it then, because the edge is their router. */
  addRoute(range: string, via: Host): void {
    ip(['-netns', this.namespace('edge'), 'route', 'replace', range, 'via', via.address]);
  }

  /** Gives a host one more address, such as a pod's. `lo` also suits ranges that are routed to it. */
  addAddress(host: string, address: string): void {
    ip(['-netns', this.namespace(host), 'address', 'add', `${address}/32`, 'dev', 'lo']);
  }

  /** Takes an address away again; connections to it are answered no more. */
  removeAddress(host: string, address: string): void {
    ip(['-netns', this.namespace(host), 'address', 'delete', `${address}/32`, 'dev', 'lo']);
  }

  /** The arguments that run `argv` on a host (`edge`, `node1`, `ext1` and so on). */
  argvOn(host: string, argv: readonly string[]): readonly string[] {
    return host === this.edge.name ? argv : inNamespace(this.namespace(this.host(host).name), argv);
  }

  /** The name under which `ip netns` knows a host. */
  namespace(host: string): string {
    return `${this.#edge.prefix}-${host}`;
  }
}
