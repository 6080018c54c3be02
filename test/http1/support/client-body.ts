import { setImmediate } from 'node:timers/promises';
import { exchange } from '../../../worker/http1/exchange.ts';
import type { UpstreamRequest, UpstreamResponse } from '../../../worker/http1/message.ts';
import { latin1, textOf } from './bytes.ts';
import { MemoryConnection } from './memory-connection.ts';

export const TIMEOUT_MS = 1000;

/** A client's body, which the test sends piece by piece. */
export class ClientBody {
  isCancelled = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  readonly stream = new ReadableStream<Uint8Array>({
    start: (controller) => {
      this.#controller = controller;
    },
    cancel: () => {
      this.isCancelled = true;
    },
  });

  send(text: string): void {
    this.#controller?.enqueue(latin1(text));
  }

  end(): void {
    this.#controller?.close();
  }

  fail(): void {
    this.#controller?.error(new Error('the client has gone'));
  }
}

export function post(
  connection: MemoryConnection,
  body: ClientBody,
  contentLength: number | null,
): Promise<UpstreamResponse> {
  const request: UpstreamRequest = {
    method: 'POST',
    target: '/',
    host: 'a',
    headers: [],
    body: body.stream,
    contentLength,
    upgrade: null,
  };
  return exchange(connection, request, { responseTimeoutMs: TIMEOUT_MS });
}

export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await setImmediate();
}

export async function textOfBody({ body }: UpstreamResponse): Promise<string> {
  return textOf(await new Response(body).bytes());
}

export const silent = (): MemoryConnection => new MemoryConnection([], 'open');
