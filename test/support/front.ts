import { Front } from '../../local/front.ts';
import { defaultCertificate } from '../../local/tls/default-certificate.ts';

/** On free ports, with the default certificate for every name and no worker behind it yet. */
export async function startFront(report: (message: string) => void = () => {}): Promise<Front> {
  const front = await Front.start({
    host: '127.0.0.1',
    httpPort: 0,
    httpsPort: 0,
    certificate: await defaultCertificate(null, Date.now()),
    report,
  });
  front.present({ certificates: new Map(), virtualHosts: [] });
  return front;
}
