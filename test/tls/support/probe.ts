import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import type { Front } from '../../../local/front.ts';
import { startFront } from '../../support/front.ts';

/** The front with a worker behind it that says what it was told. */
export interface Probe extends AsyncDisposable {
  readonly front: Front;
  /** What the front had to say of certificates. */
  readonly reports: readonly string[];
}

/** What the worker was told. */
export interface Told {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly cf: Readonly<Record<string, unknown>> & {
    readonly tlsClientAuth: Readonly<Record<string, string | boolean>>;
  };
  readonly body: { readonly bytes: number; readonly sha256: string };
}

const SCRIPT = `
async function digest(body) {
  const stream = new crypto.DigestStream('SHA-256');
  let bytes = 0;
  const counted = new TransformStream({
    transform(chunk, controller) { bytes += chunk.length; controller.enqueue(chunk); },
  });
  await (body ?? new Response('').body).pipeThrough(counted).pipeTo(stream);
  const sha256 = [...new Uint8Array(await stream.digest)];
  return { bytes, sha256: sha256.map((it) => it.toString(16).padStart(2, '0')).join('') };
}
export default {
  async fetch(request) {
    const { url, method, headers, cf, body } = request;
    return Response.json({
      url, method, headers: Object.fromEntries(headers), cf, body: await digest(body),
    });
  },
};`;

export async function startProbe(): Promise<Probe> {
  const reports: string[] = [];
  const front = await startFront((message) => reports.push(message));
  const worker = {
    name: 'probe',
    modules: true as const,
    script: SCRIPT,
    compatibilityDate: '2026-11-01',
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0, proxy: true }],
  };
  const miniflare = new Miniflare(convertV4MiniflareOptions({ workers: [worker] }));
  const { hostname, port } = await miniflare.unsafeGetDirectURL('probe');
  front.serve({ host: hostname, port: Number(port) });
  return {
    front,
    reports,
    [Symbol.asyncDispose]: async () => {
      await front.close();
      await miniflare.dispose();
    },
  };
}
