import { createServer } from 'node:tls';
import { Front } from '../local/front.ts';
import { defaultCertificate } from '../local/tls/default-certificate.ts';
import { SecretText } from '../syncer/secret-text.ts';

/** What to listen with; the port is told when it listens. */
export interface TlsServerTask {
  readonly kind: 'front' | 'bare';
  readonly keyType: 'rsa' | 'ecdsa';
  readonly host: string;
  readonly chain: string;
  readonly privateKey: string;
}

/** Any later message asks for the time that this process has taken, in microseconds. */
function tellTime(): void {
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
}

process.once('message', async ({ kind, keyType, host, chain, privateKey }: TlsServerTask) => {
  tellTime();
  if (kind === 'bare') {
    const options = { cert: chain, key: privateKey, ALPNProtocols: ['h2', 'http/1.1'] };
    const server = createServer(options, (socket) => socket.on('error', () => socket.destroy()));
    server.listen(0, '127.0.0.1', () =>
      process.send?.((server.address() as { port: number }).port),
    );
    return;
  }
  const front = await Front.start({
    host: '127.0.0.1',
    httpPort: 0,
    httpsPort: 0,
    certificate: await defaultCertificate(null, Date.now()),
    report: (message) => console.error(message),
  });
  const certificate = {
    secret: { kind: 'Secret', namespace: 'bench', name: 'bench' },
    keyType,
    chain,
    privateKey: new SecretText(privateKey),
    fingerprint: '',
    subject: '',
    names: [host],
    notBeforeMs: 0,
    notAfterMs: Number.POSITIVE_INFINITY,
  };
  front.present({ certificates: new Map([[host, [certificate]]]), virtualHosts: [] });
  process.send?.(front.httpsPort);
});
