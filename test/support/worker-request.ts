import { X509Certificate } from 'node:crypto';
import type { Issued } from './certificates.ts';
import type { ClientMessage } from './message.ts';
import { type RawRequest, type Rig, send } from './rig.ts';

/** A request as the front hands it to the worker. */
export interface WorkerRequest extends RawRequest {
  readonly scheme?: 'http' | 'https';
  /** What becomes `request.cf`. */
  readonly cf?: object;
}

/** Sends a request to the worker itself, in the words of the front: over https unless told. */
export function sendToWorker(
  { edge }: Pick<Rig, 'edge'>,
  { scheme = 'https', host = 'a.example', target = '/', cf = {}, ...request }: WorkerRequest = {},
): Promise<ClientMessage> {
  return send(edge.worker.port, {
    ...request,
    host,
    target: `${scheme}://${host}${target}`,
    headers: [`MF-CF-Blob: ${asciiJson(cf)}`, ...(request.headers ?? [])],
  });
}

/** `request.cf.tlsClientAuth` of a client that has shown this certificate, verified unless told. */
export function clientAuth(issued: Issued, facts: object = {}): object {
  const [leaf, ...sent] = issued.certificate
    .split(/(?<=-----END CERTIFICATE-----)\s*/)
    .filter((it) => it !== '')
    .map((pem) => new X509Certificate(pem));
  if (!leaf) throw new Error('no certificate');
  return {
    certPresented: '1',
    certVerified: 'SUCCESS',
    certRevoked: '0',
    certSubjectDNRFC2253: leaf.subject,
    certIssuerDNRFC2253: leaf.issuer,
    certRFC9440: `:${leaf.raw.toString('base64')}:`,
    certRFC9440TooLarge: false,
    certChainRFC9440: sent.map(({ raw }) => `:${raw.toString('base64')}:`).join(', '),
    certChainRFC9440TooLarge: false,
    ...facts,
  };
}

/** A header's value has no other characters. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
