import { type Edge, type EdgeOptions, startEdge } from '../../local/edge.ts';
import { edgePublisher, waitUntilServed } from '../../local/edge-publisher.ts';
import type { Front } from '../../local/front.ts';
import type { SignatureKey } from '../../snapshot/signature.ts';
import type { Problem, Snapshot } from '../../snapshot/types.ts';
import { SILENT_LOGGER } from '../../syncer/log.ts';
import type { Publisher } from '../../syncer/publish.ts';
import { startFront } from './front.ts';
import { type ClientMessage, readResponse } from './message.ts';
import { Wire } from './wire.ts';

export const ADMIN_HOST = 'admin.test';

/** The worker in workerd and the front, with the publisher of production to say what they serve. */
export interface Rig extends AsyncDisposable {
  readonly edge: Edge;
  readonly front: Front;
  readonly publisher: Publisher;
  readonly log: WorkerLog;
  /** Publishes and resolves with the version once it is served. */
  publish(snapshot: Snapshot, problems?: readonly Problem[]): Promise<string>;
}

/** The lines that the worker logs. */
export class WorkerLog {
  readonly lines: string[] = [];
  #wake = Promise.withResolvers<void>();

  add(line: string): void {
    this.lines.push(line);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** The first line with this text, once it is there. */
  async line(text: string): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => line.includes(text));
      if (found !== undefined) return found;
      await this.#wake.promise;
    }
  }
}

export interface RigOptions extends Partial<EdgeOptions> {
  readonly signingKey?: SignatureKey | null;
}

export async function startRig({ signingKey, ...options }: RigOptions = {}): Promise<Rig> {
  const log = new WorkerLog();
  const front = await startFront();
  const edge = await startEdge({
    persist: null,
    cluster: 'test',
    publicKey: null,
    productionRules: false,
    adminHost: ADMIN_HOST,
    adminToken: null,
    httpsPort: front.httpsPort,
    onLog: (line) => log.add(line),
    ...options,
  });
  front.serve(edge.worker);
  const publisher = publisherFor(edge, options.cluster ?? 'test', signingKey ?? null);
  await publisher.claim();
  return {
    edge,
    front,
    publisher,
    log,
    publish: async (snapshot, problems = []) => {
      const { version } = await publisher.publish(snapshot, problems);
      await waitUntilServed(edge, version);
      return version;
    },
    [Symbol.asyncDispose]: async () => {
      await front.close();
      await edge.stop();
    },
  };
}

function publisherFor(
  edge: Pick<Edge, 'api'>,
  cluster: string,
  signingKey: SignatureKey | null,
): Publisher {
  const { signal } = new AbortController();
  return edgePublisher(edge, {
    cluster,
    publishedBy: 'test',
    signingKey,
    log: SILENT_LOGGER,
    signal,
  });
}

/** A request as bytes on a connection of its own. */
export interface RawRequest {
  readonly method?: string;
  /** Written as it stands. */
  readonly target?: string;
  readonly host?: string;
  /** Whole lines; `Host` comes before, `Connection: close` is the default. */
  readonly headers?: readonly string[];
  readonly body?: string | Uint8Array;
}

/** Sends a request's bytes and reads the answer's. */
export async function send(port: number, request: RawRequest = {}): Promise<ClientMessage> {
  return sendOn(await Wire.dial(port), request);
}

/** {@link send} on a connection that is there, and ends with it. */
export async function sendOn(wire: Wire, request: RawRequest): Promise<ClientMessage> {
  try {
    wire.write(headText(request));
    if (request.body !== undefined) wire.write(request.body);
    return await readResponse(wire, request.method);
  } finally {
    wire.destroy();
  }
}

export function headText({
  method = 'GET',
  target = '/',
  host = 'a.example',
  headers = [],
}: RawRequest): string {
  const hasConnection = headers.some((line) => /^connection:/i.test(line));
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `Host: ${host}`,
    ...headers,
    ...(hasConnection ? [] : ['Connection: close']),
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}
