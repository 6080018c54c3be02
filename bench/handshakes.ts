/**
 * Handshakes of the front beside those of a bare TLS server of Node with the same certificate, each
 * in a process of its own, in alternating rounds: the ratio says what reading the server name and
 * choosing by it cost. They are counted by the time of the server's processor, for the clients take more
 * of it than the servers do. And how long it takes from a changed Secret to the first handshake with it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newAuthority, tlsSecret } from '../test/support/certificates.ts';
import { startFilesGateway } from '../test/support/files-gateway.ts';
import { handshake, shownTo } from '../test/support/tls-client.ts';
import type { TlsServerTask } from './tls-server.ts';

const HOST = 'bench.example';
const ROUNDS = 7;
const HANDSHAKES = 600;
const CONNECTIONS = 16;
const RENEWALS = 20;

const authority = await newAuthority();

interface Server {
  readonly port: number;
  readonly child: ChildProcess;
}

async function started(task: TlsServerTask): Promise<Server> {
  const child = fork(fileURLToPath(new URL('./tls-server.ts', import.meta.url)));
  child.send(task);
  const [port] = (await once(child, 'message')) as [number];
  return { port, child };
}

interface Rates {
  /** In a second of the clock. */
  readonly perSecond: number[];
  /** In a second of the server's processor. */
  readonly perCpuSecond: number[];
}

async function measure({ port, child }: Server, rates: Rates): Promise<void> {
  let left = HANDSHAKES;
  const client = async () => {
    while (left-- > 0) (await handshake(port, HOST, { ALPNProtocols: ['http/1.1'] })).destroy();
  };
  const [startedMs, startedCpuUs] = [performance.now(), await cpuUs(child)];
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
  rates.perSecond.push(HANDSHAKES / ((performance.now() - startedMs) / 1e3));
  rates.perCpuSecond.push(HANDSHAKES / (((await cpuUs(child)) - startedCpuUs) / 1e6));
}

async function cpuUs(child: ChildProcess): Promise<number> {
  const answer = once(child, 'message');
  child.send('time');
  return Number((await answer)[0]);
}

async function compare(keyType: 'rsa' | 'ecdsa'): Promise<void> {
  const { certificate: chain, privateKey } = await authority.issue({ names: [HOST], keyType });
  const task = { keyType, host: HOST, chain, privateKey };
  const servers = [
    await started({ kind: 'front', ...task }),
    await started({ kind: 'bare', ...task }),
  ].map((server) => ({ server, rates: { perSecond: [], perCpuSecond: [] } as Rates }));
  try {
    for (const { server } of servers) await measure(server, { perSecond: [], perCpuSecond: [] });
    for (let round = 0; round < ROUNDS; round++) {
      // The order turns round by round, so that neither always comes second.
      for (const { server, rates } of round % 2 === 0 ? servers : servers.toReversed()) {
        await measure(server, rates);
      }
    }
  } finally {
    for (const { server } of servers) server.child.kill();
  }
  const figure = (of: keyof Rates) => {
    const [front = 0, bare = 0] = servers.map(({ rates }) => median(rates[of]));
    return `front ${front.toFixed(0)}, bare ${bare.toFixed(0)}, ratio ${(front / bare).toFixed(3)}`;
  };
  console.log(`${keyType}: handshakes per second ${figure('perSecond')}`);
  console.log(`${keyType}: handshakes per second of processor ${figure('perCpuSecond')}`);
}

/** Files on disk, read by the gateway as `causeway dev` does. */
async function renewals(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'causeway-bench-'));
  const write = async () => {
    const issued = await authority.issue({ names: [HOST] });
    const items = [tlsSecret('default', 'bench', issued), INGRESS];
    writeFileSync(`${folder}/draft`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    renameSync(`${folder}/draft`, `${folder}/bench.json`);
    return issued.fingerprint;
  };
  await write();
  const gateway = await startFilesGateway(`${folder}/bench.json`);
  const port = Number(new URL(gateway.httpsUrl).port);
  const times: number[] = [];
  for (let i = 0; i < RENEWALS; i++) {
    const fingerprint = await write();
    const startedMs = performance.now();
    while ((await shownTo(port, HOST)) !== fingerprint);
    times.push(performance.now() - startedMs);
  }
  await gateway.stop();
  rmSync(folder, { recursive: true });
  const worst = Math.max(...times);
  console.log(
    `renewed Secret to first handshake: median ${median(times).toFixed(0)} ms, worst of ${RENEWALS} ${worst.toFixed(0)} ms`,
  );
}

const INGRESS = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'Ingress',
  metadata: { name: 'bench' },
  spec: {
    tls: [{ hosts: [HOST], secretName: 'bench' }],
    defaultBackend: { service: { name: 'nobody', port: { number: 80 } } },
  },
};

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

console.log(`${CONNECTIONS} connections, median of ${ROUNDS} rounds of ${HANDSHAKES}`);
await compare('rsa');
await compare('ecdsa');
await renewals();
