import { mkdtempSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Authority, newAuthority } from '../support/certificates.ts';
import { type Cluster, GiveUp, waitFor } from './cluster.ts';
import { currentEdge } from './edge.ts';
import type { RunningProcess } from './processes.ts';

// The edge is a network namespace of this run alone: all ports are free there.
const ACME_PORT = 14_000;
const MANAGEMENT_PORT = 15_000;
const DNS_PORT = 8_053;
const DNS_MANAGEMENT_PORT = 8_055;

/**
 * Let's Encrypt's own test CA, in the edge namespace, with a DNS server that knows every name as
 * 127.0.0.1: it validates what the gateway there answers on port 80, as it does in production.
 */
export class Pebble {
  /** Where ACME begins (RFC 8555 section 7.1.1). */
  readonly directoryUrl = `https://localhost:${ACME_PORT}/dir`;
  /** PEM of the authority behind the CA's own HTTPS; not that of what it issues. */
  readonly certificateAuthority: string;
  readonly #process: RunningProcess;

  private constructor(process: RunningProcess, authority: Authority) {
    this.#process = process;
    this.certificateAuthority = authority.pem;
  }

  /**
   * Starts both and waits until they answer. Throws when the CA ends before; that it is not installed
   * is said by test/cluster/binaries.sh, which installs it.
   */
  static async start(cluster: Cluster): Promise<Pebble> {
    const dir = mkdtempSync(join(currentEdge().dir, 'pebble-'));
    const authority = await newAuthority('The HTTPS of the test CA');
    const { certificate, privateKey } = await authority.issue({ names: ['localhost'] });
    writeFileSync(join(dir, 'certificate.pem'), certificate);
    writeFileSync(join(dir, 'key.pem'), privateKey, { mode: 0o600 });
    writeFileSync(join(dir, 'config.json'), JSON.stringify(configuration(dir)));
    cluster.spawn('edge', 'pebble-dns', [
      'pebble-challtestsrv',
      ...['-dns01', `127.0.0.1:${DNS_PORT}`, '-management', `127.0.0.1:${DNS_MANAGEMENT_PORT}`],
      ...['-defaultIPv4', '127.0.0.1', '-defaultIPv6', ''],
      // Challenges are answered by the gateway, and by nobody else.
      ...['-http01', '', '-https01', '', '-tlsalpn01', ''],
    ]);
    const argv = ['pebble', '-config', join(dir, 'config.json'), '-strict'];
    const pebble = cluster.spawn(
      'edge',
      'pebble',
      [...argv, '-dnsserver', `127.0.0.1:${DNS_PORT}`],
      {
        // It would wait up to 15 seconds before each validation.
        PEBBLE_VA_NOSLEEP: '1',
        // Otherwise every other renewal would pass without any challenge.
        PEBBLE_AUTHZREUSE: '0',
        // How many valid nonces it refuses stays at 5 %, which clients have to bear.
      },
    );
    const started = new Pebble(pebble, authority);
    await started.#ready();
    return started;
  }

  /** PEM of the root behind what it issues; new with each start. */
  root(): Promise<string> {
    return this.#get(`https://localhost:${MANAGEMENT_PORT}/roots/0`);
  }

  /** What it says of the validations that it made. */
  logTail(): string {
    return this.#process.logTail(40);
  }

  async #ready(): Promise<void> {
    await waitFor('the test CA', () => {
      if (!this.#process.isRunning()) throw new GiveUp(`the CA ended:\n${this.logTail()}`);
      return this.#get(this.directoryUrl);
    });
  }

  #get(url: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const sent = get(url, { ca: this.certificateAuthority, agent: false }, (response) => {
        resolve(text(response));
      });
      sent.once('error', reject);
    });
  }
}

function configuration(dir: string): object {
  return {
    pebble: {
      listenAddress: `127.0.0.1:${ACME_PORT}`,
      managementListenAddress: `127.0.0.1:${MANAGEMENT_PORT}`,
      certificate: join(dir, 'certificate.pem'),
      privateKey: join(dir, 'key.pem'),
      httpPort: 80,
      tlsPort: 443,
      ocspResponderURL: '',
      externalAccountBindingRequired: false,
    },
  };
}
