import { request } from 'node:http';
import { startEdge } from '../../local/edge.ts';
import { edgePublisher } from '../../local/edge-publisher.ts';
import type { Snapshot } from '../../snapshot/types.ts';
import { SILENT_LOGGER } from '../../syncer/log.ts';

/** What `causeway dev --production-rules` starts. */
export interface Gateway {
  /** The status of the answer, and what the worker logs as its cause. */
  ask(host: string): Promise<{ readonly status: number; readonly cause: string }>;
  stop(): Promise<void>;
}

export async function startGateway(snapshot: Snapshot): Promise<Gateway> {
  const causes = new Causes();
  const edge = await startEdge({
    persist: null,
    cluster: 'local',
    publicKey: null,
    productionRules: true,
    adminHost: 'admin.localhost',
    adminToken: null,
    onLog: (text) => causes.read(text),
  });
  const publisher = edgePublisher(edge, {
    cluster: 'local',
    publishedBy: 'a test',
    signingKey: null,
    log: SILENT_LOGGER,
    signal: new AbortController().signal,
  });
  await publisher.claim();
  await publisher.publish(snapshot, []);
  return {
    async ask(host) {
      const { status, requestId } = await get(edge.worker, host);
      return { status, cause: await causes.of(requestId) };
    },
    stop: () => edge.stop(),
  };
}

/** The lines of the worker's log, by the request they are about. */
class Causes {
  readonly #byRequest = new Map<string, PromiseWithResolvers<string>>();

  read(text: string): void {
    for (const line of text.split('\n')) {
      if (!line.startsWith('{"level":"error"')) continue;
      const { requestId, cause } = JSON.parse(line) as { requestId: string; cause: string };
      this.#line(requestId).resolve(cause);
    }
  }

  /** Waits for the line, which comes by another way than the answer. */
  of(requestId: string): Promise<string> {
    return this.#line(requestId).promise;
  }

  #line(requestId: string): PromiseWithResolvers<string> {
    const line = this.#byRequest.get(requestId) ?? Promise.withResolvers<string>();
    this.#byRequest.set(requestId, line);
    return line;
  }
}

function get(
  worker: { readonly host: string; readonly port: number },
  host: string,
): Promise<{ status: number; requestId: string }> {
  return new Promise((resolve, reject) => {
    const options = { ...worker, path: `http://${host}/`, headers: { host }, agent: false };
    request(options, (response) => {
      response.resume();
      const requestId = String(response.headers['x-request-id']);
      resolve({ status: response.statusCode ?? 0, requestId });
    })
      .on('error', reject)
      .end();
  });
}
